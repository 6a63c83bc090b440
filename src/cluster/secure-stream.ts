import type { Dealer } from 'zeromq'
import { socketEvents } from '../link/zeromq/connection.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'

/** The largest message, in bytes. With CURVE's overhead, it bounds the memory of libzmq for an unauthenticated peer. */
const CHUNK = 64 * 1024
const MAX_MESSAGE = 2 * CHUNK
/** Time for the handshake, in milliseconds. */
export const HANDSHAKE_TIME = 3000

/** Reasons of failed handshakes, by libzmq's events. */
const FAILURES: ReadonlyMap<string, string> = new Map([
  ['handshake:error:auth', "it does not know this machine's public key"],
  ['handshake:error:protocol', 'one side has keys, and the other none'],
  ['handshake:error:other', 'it ended the handshake, as a peer with another public key does'],
])

/** Options of both ends: a socket has one peer and does not reconnect. */
export const STREAM_OPTIONS = {
  reconnectInterval: -1,
  linger: 0,
  handshakeInterval: HANDSHAKE_TIME,
  maxMessageSize: MAX_MESSAGE,
  sendHighWaterMark: 64,
} as const

/** A stream of bytes through a DEALER with one peer. Cuts large pieces, so that signs of life pass on a slow line. */
export class SecureStream {
  readonly #opened: Deferred<void> = deferred()
  /** Resolves after the handshake; rejects with the reason if it fails. */
  readonly opened: Promise<void> = this.#opened.promise
  /** Resolves when the peer is gone, or `destroy` was called. */
  readonly closed: Promise<void>
  readonly #socket: Dealer
  #waiting: Buffer[] = []
  #sending = false

  /** Takes over a socket that is not connected or bound. `receive` is called with received bytes; must not throw. */
  constructor(socket: Dealer, receive: (bytes: Buffer) => void) {
    this.#socket = socket
    this.closed = this.#watch()
    void this.#read(receive)
  }

  write(pieces: readonly Buffer[]): void {
    if (this.#socket.closed) return
    this.#waiting.push(...pieces)
    if (this.#sending) return
    this.#sending = true
    queueMicrotask(() => void this.#send())
  }

  /** Ends it at once. */
  destroy(): void {
    this.#socket.close()
    this.#waiting = []
  }

  async #watch(): Promise<void> {
    let reason = 'the connection ended'
    try {
      for await (const event of socketEvents(this.#socket)) {
        if (event.type === 'handshake') this.#opened.resolve()
        reason = FAILURES.get(event.type) ?? reason
        if (event.type === 'disconnect' || event.type === 'close' || event.type === 'end') break
      }
    } catch {
      // The socket was closed, or has no monitor.
    }
    this.#opened.reject(new Mongrel2Error('closed', reason))
    this.destroy()
  }

  async #read(receive: (bytes: Buffer) => void): Promise<void> {
    try {
      for (;;) for (const part of await this.#socket.receive()) receive(part)
    } catch {
      this.destroy()
    }
  }

  /** Sends the writes of one turn together. zeromq.js allows one send at a time: later writes go with the next. */
  async #send(): Promise<void> {
    try {
      while (this.#waiting.length > 0) await this.#socket.send(this.#next())
    } catch {
      this.destroy()
    }
    this.#sending = false
  }

  #next(): Buffer {
    const pieces: Buffer[] = []
    let size = 0
    let count = 0
    for (const piece of this.#waiting) {
      const left = CHUNK - size
      if (left === 0) break
      pieces.push(piece.subarray(0, left))
      size += Math.min(piece.length, left)
      if (piece.length > left) {
        this.#waiting[count] = piece.subarray(left)
        break
      }
      count++
    }
    this.#waiting = this.#waiting.slice(count)
    return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces)
  }
}
