import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectSecurely } from 'node:tls'
import { type DigestedResponse, ResponseDigest } from './response-digest.ts'

/** How often a client may read, in milliseconds. */
const TICK = 10

export interface SlowClientOptions {
  /** Bytes a second that it reads at most. Default: as fast as they come. */
  readonly rate?: number
  /** Bytes that it reads at once at most. Default: 16 KiB, or what it may read in a tick. */
  readonly receiveBuffer?: number
  /** Options of TLS, to speak it. */
  readonly tls?: ConnectionOptions
}

/**
 * A client that reads at a rate and no faster, so that what it does not read stands in the buffers on the way: its own socket's and
 * Mongrel2's, which Linux lets grow to several MiB each. Of bodies it keeps digests.
 */
export class SlowClient implements Disposable {
  readonly #socket: Socket
  readonly #digest = new ResponseDigest()
  readonly #perTick: number
  readonly #timer: NodeJS.Timeout | undefined
  #budget: number
  #stopped = false
  #given = 0
  #fault: Error | undefined
  #ended = false
  #wake: () => void = () => {}

  /** Opens a connection to a port of this machine. */
  constructor(
    port: number,
    { rate = Number.POSITIVE_INFINITY, receiveBuffer = 16 * 1024, tls }: SlowClientOptions = {},
  ) {
    this.#perTick = (rate * TICK) / 1000
    this.#budget = this.#perTick
    const where = {
      host: '127.0.0.1',
      port,
      noDelay: true,
      onread: {
        buffer: Buffer.alloc(Math.min(receiveBuffer, Math.max(1, Math.floor(this.#perTick)))),
        callback: (size: number, buffer: Uint8Array) => this.#read(Buffer.from(buffer.buffer, buffer.byteOffset, size)),
      },
    }
    this.#socket = tls === undefined ? connect(where) : connectSecurely({ ...where, ...tls })
    const end = (fault?: Error) => {
      this.#fault ??= fault
      this.#ended = true
      this.#wake()
    }
    this.#socket.on('error', end).on('end', () => end())
    this.#socket.on('close', () => {
      clearInterval(this.#timer)
      end()
    })
    this.#socket.resume() // or its end would never be told
    if (rate !== Number.POSITIVE_INFINITY) this.#timer = setInterval(() => this.#replenish(), TICK)
  }

  /** Bytes that have come of the body that is under way. */
  get bytes(): number {
    return this.#digest.bytes
  }

  /** Whether the other side has ended the connection, as far as it has been read. */
  get ended(): boolean {
    return this.#ended
  }

  /** Writes bytes, in one write; text as Latin-1. */
  send(bytes: string): this {
    this.#socket.write(bytes, 'latin1')
    return this
  }

  /** Asks for a path. */
  get(path = '/'): this {
    return this.send(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  }

  /** Does not read any more until it is resumed. */
  stop(): this {
    this.#stopped = true
    this.#socket.pause()
    return this
  }

  resume(): this {
    this.#stopped = false
    this.#socket.resume()
    return this
  }

  /**
   * Reads the next response to its end.
   *
   * @throws Error when the connection ended before.
   */
  async response(): Promise<DigestedResponse> {
    for (;;) {
      const response = this.#digest.responses[this.#given]
      if (response !== undefined) {
        this.#given++
        return response
      }
      if (this.#fault !== undefined) throw this.#fault
      if (this.#ended) throw new Error(`the connection ended after ${this.#digest.bytes} bytes of body`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.#socket.destroy()
  }

  [Symbol.dispose](): void {
    this.destroy()
  }

  /** Whether it goes on reading. */
  #read(bytes: Buffer): boolean {
    try {
      this.#digest.feed(bytes)
    } catch (error) {
      this.#socket.destroy(error instanceof Error ? error : new Error(String(error)))
    }
    this.#budget -= bytes.length
    if (this.#digest.responses.length > this.#given) this.#wake()
    return this.#budget > 0 && !this.#stopped
  }

  /** What a tick did not use is not kept: a client that is behind does not catch up. */
  #replenish(): void {
    this.#budget = Math.min(this.#budget, 0) + this.#perTick
    if (this.#budget > 0 && !this.#stopped) this.#socket.resume()
  }
}
