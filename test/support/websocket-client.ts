import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { inflateRawSync } from 'node:zlib'
import { clientFrame, describeFrame, parseServerFrames, type ServerFrame } from './websocket-frames.ts'

const PING = 9
const PONG = 10

/** A client that sends the bytes it is given, right or wrong, and keeps the frames that come back. */
export class RawWebSocket implements Disposable {
  /** The response to its handshake, up to the empty line. */
  head = ''
  /** What has come since. */
  readonly frames: ServerFrame[] = []
  /** Whether the other side has ended the connection, in whatever way. */
  ended = false
  /** Whether it answers pings, as clients have to. */
  answersPings = false
  readonly #socket: Socket
  #received: Buffer = Buffer.alloc(0)
  #wake: () => void = () => {}

  private constructor(port: number) {
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true })
    this.#socket.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes])
      this.#read()
    })
    this.#socket.on('error', () => {}) // a reset ends it, too
    for (const event of ['end', 'close']) this.#socket.on(event, () => this.#end())
  }

  /**
   * Opens a connection and sends a handshake; resolves when there is a response to it, or the end.
   *
   * @param behind What is sent with it, without waiting for the response.
   */
  static async open(
    port: number,
    path = '/',
    fields: readonly string[] = [],
    behind: Uint8Array = new Uint8Array(),
  ): Promise<RawWebSocket> {
    const client = new RawWebSocket(port)
    const head = [
      `GET ${path} HTTP/1.1`,
      `Host: 127.0.0.1:${port}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
      ...fields,
      '\r\n',
    ].join('\r\n')
    client.send(Buffer.concat([Buffer.from(head, 'latin1'), behind]))
    await client.until(() => client.head !== '')
    return client
  }

  send(bytes: string | Uint8Array): this {
    this.#socket.write(bytes)
    return this
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  [Symbol.dispose](): void {
    this.destroy()
  }

  /** Resolves when something holds, or the connection has ended. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds() && !this.ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Sends bytes and a ping behind them, and tells what comes back up to the pong or the end. */
  async answersTo(bytes: Uint8Array): Promise<string[]> {
    const before = this.frames.length
    this.send(Buffer.concat([bytes, clientFrame(PING, 'fence')]))
    const isFence = ({ opcode, payload }: ServerFrame) => opcode === PONG && payload.toString() === 'fence'
    await this.until(() => this.frames.some(isFence))
    const answers = this.frames.slice(before)
    const open = answers.some(isFence)
    return [...answers.filter((frame) => !isFence(frame)).map(describe), open ? 'open' : 'end']
  }

  #read(): void {
    if (this.head === '') {
      const end = this.#received.indexOf('\r\n\r\n')
      if (end === -1) return
      this.head = this.#received.toString('latin1', 0, end)
      this.#received = this.#received.subarray(end + 4)
    }
    const { frames, rest } = parseServerFrames(this.#received)
    this.frames.push(...frames)
    for (const { opcode, payload } of this.answersPings ? frames : []) {
      if (opcode === PING) this.send(clientFrame(PONG, payload))
    }
    this.#received = rest
    this.#wake()
  }

  #end(): void {
    this.ended = true
    this.#wake()
  }
}

/** A compressed message is described as what it says. */
function describe(frame: ServerFrame): string {
  if (frame.rsv !== 0x40) return describeFrame(frame)
  const payload = inflateRawSync(Buffer.concat([frame.payload, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: 2 })
  return describeFrame({ ...frame, rsv: 0, payload })
}
