import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { countGarbage } from '../../runtime/process/young-collection.ts'
import { FrameParser, renderMessages } from '../../wire/zmtp/frame.ts'

/** The size of a read, in bytes: Node's own. */
const READ_SIZE = 64 * 1024

/**
 * Frames between a process and its child, by one pipe for each direction: a write that fails closes its pipe, and the reports of a child that
 * ended have to be read to the end.
 */
export class FramePipe {
  /** Resolves when the other side has ended and all of its frames have been received. */
  readonly closed: Promise<void>
  readonly #output: Socket

  /** `input` may be a file descriptor. An error of `receive` or the parser ends reading, and `failed` is called. */
  constructor(
    input: Socket | number,
    output: Socket,
    receive: (frame: Buffer) => void,
    failed: (error: unknown) => void,
  ) {
    const parser = new FrameParser(({ body }) => {
      countGarbage(body.length)
      receive(body)
    })
    const read = (bytes: Buffer): boolean => {
      try {
        parser.push(bytes)
      } catch (error) {
        socket.destroy()
        failed(error)
      }
      return true
    }
    const socket = typeof input === 'number' ? openInput(input, read) : input.on('data', read)
    this.#output = output
    for (const each of [socket, output]) each.on('error', () => {}) // it is closed then
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()))
  }

  /** Written bytes that the system has not taken. */
  get waitingBytes(): number {
    return this.#output.writableLength
  }

  /** Sends frames, in one write if possible; calls `written` when the system has taken them, or when that failed. */
  send(frames: readonly Buffer[], written?: () => void): void {
    const output = this.#output
    if (!output.writable) return
    const pieces = renderMessages(frames)
    if (pieces.length > 1) output.cork()
    for (const piece of pieces) output.write(piece, written)
    if (pieces.length > 1) output.uncork()
  }

  /** Ends this side; resolves when the system has taken all frames, or when that failed. */
  async end(): Promise<void> {
    await new Promise<void>((resolve) => this.#output.end(() => resolve()))
  }
}

/** Each read goes into the same memory, since the parser copies. */
function openInput(fd: number, read: (bytes: Buffer) => boolean): Socket {
  const buffer = Buffer.allocUnsafeSlow(READ_SIZE)
  const onread = { buffer, callback: (size: number) => read(buffer.subarray(0, size)) }
  const options: SocketConstructorOpts & ConnectOpts = { fd, writable: false, onread }
  return new Socket(options)
}
