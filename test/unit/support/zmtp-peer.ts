import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseCommand, renderPing, renderReady } from '../../../src/wire/zmtp/command.ts'
import { type Frame, FrameParser } from '../../../src/wire/zmtp/frame.ts'
import { GREETING, parseGreeting } from '../../../src/wire/zmtp/greeting.ts'

/** Stands for Mongrel2's side of a link, byte by byte: it listens, takes connections and says nothing of itself. */
export class ZmtpListener implements AsyncDisposable {
  readonly spec: string
  readonly #server: Server
  readonly #directory: string
  readonly #peers: ZmtpPeer[] = []
  readonly #accepted: ZmtpPeer[] = []
  #wake: () => void = () => {}

  private constructor(server: Server, directory: string) {
    this.#server = server
    this.#directory = directory
    this.spec = `ipc://${directory}/peer`
    server.on('connection', (socket) => {
      const peer = new ZmtpPeer(socket)
      this.#peers.push(peer)
      this.#accepted.push(peer)
      this.#wake()
    })
  }

  static async start(): Promise<ZmtpListener> {
    const directory = await mkdtemp(join(tmpdir(), 'zmtp-'))
    const server = createServer({ allowHalfOpen: true }).listen(join(directory, 'peer'))
    await once(server, 'listening')
    return new ZmtpListener(server, directory)
  }

  /** How many connections there have been. */
  get connections(): number {
    return this.#peers.length
  }

  /** Resolves with the next connection. */
  async accept(): Promise<ZmtpPeer> {
    for (;;) {
      const peer = this.#accepted.shift()
      if (peer !== undefined) return peer
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers) peer.destroy()
    this.#server.close()
    await rm(this.#directory, { recursive: true, force: true })
  }
}

/** The other end of one connection. */
export class ZmtpPeer {
  /** Resolves when we have ended our side. */
  readonly ended: Promise<void>
  /** What has come after the greeting. */
  readonly frames: Frame[] = []
  readonly #socket: Socket
  readonly #parser = new FrameParser((frame) => this.frames.push(frame))
  #greeting: Buffer | undefined = Buffer.alloc(0)
  #wake: () => void = () => {}

  constructor(socket: Socket) {
    this.#socket = socket
    this.ended = new Promise((resolve) => {
      socket.once('end', resolve).once('close', () => resolve())
    })
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      this.#read(bytes)
      this.#wake()
    })
  }

  send(...pieces: readonly Buffer[]): void {
    this.#socket.write(Buffer.concat(pieces))
  }

  /** Says what a peer of a type says first, in one write or byte by byte. */
  handshake(socketType: string, { bytewise = false, minor = 1 }: { bytewise?: boolean; minor?: number } = {}): void {
    const greeting = Buffer.from(GREETING)
    greeting[11] = minor
    const bytes = Buffer.concat([greeting, renderReady({ 'Socket-Type': socketType })])
    if (bytewise) for (const byte of bytes) this.send(Buffer.from([byte]))
    else this.send(bytes)
  }

  /** Resolves with what came after the greeting when it is so many frames. */
  async received(count: number): Promise<Frame[]> {
    while (this.frames.length < count) await this.#more()
    return this.frames
  }

  /** Resolves when the other side has answered a PING, and so has read what was sent before. */
  async pong(): Promise<void> {
    const before = this.commands.filter((name) => name === 'PONG').length
    this.send(renderPing(0))
    while (this.commands.filter((name) => name === 'PONG').length === before) await this.#more()
  }

  /** The commands that have come, by name. */
  get commands(): string[] {
    return this.frames.filter(({ command }) => command).map(({ body }) => parseCommand(body).name)
  }

  /** Stops reading: what is sent fills the buffers on the way. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Ends this side once all was sent. */
  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #read(bytes: Buffer): void {
    if (this.#greeting === undefined) return this.#parser.push(bytes)
    this.#greeting = Buffer.concat([this.#greeting, bytes])
    if (parseGreeting(this.#greeting) === undefined) return
    this.#parser.push(this.#greeting.subarray(GREETING.length))
    this.#greeting = undefined
  }
}
