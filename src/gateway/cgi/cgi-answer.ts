import type { Socket } from 'node:net'
import type { ResponseHead } from '../../wire/response-parser.ts'
import type { Answer } from '../request.ts'
import { endToEnd, pairs } from '../response-fields.ts'
import type { Codec } from './codec.ts'

/** An answer on a front server's connection. */
export class CgiAnswer implements Answer {
  readonly #socket: Socket
  readonly #codec: Codec
  readonly #finished: (released: boolean) => void
  #released = false
  #bodyComplete = false
  #phase: 'open' | 'ended' | 'finished' = 'open'
  begun = false

  /** @param finished Called when the answer is written, unless it was cut, and the connection may go on or end. */
  constructor(socket: Socket, codec: Codec, finished: (released: boolean) => void) {
    this.#socket = socket
    this.#codec = codec
    this.#finished = finished
  }

  begin({ status, reason, fields }: ResponseHead): void {
    this.begun = true
    // Head and body of a small answer go out in one write.
    this.#socket.cork()
    process.nextTick(() => this.#socket.uncork())
    // Servers would read a field `Status` as the status.
    const passed = endToEnd(pairs(fields)).filter(([name]) => name.toLowerCase() !== 'status')
    this.#socket.write(this.#codec.renderHead(status, reason, passed))
  }

  flush(): void {}

  write(bytes: Buffer, written?: () => void): void {
    this.#socket.cork()
    const pieces = this.#codec.renderBody(bytes)
    for (const [at, piece] of pieces.entries()) {
      this.#socket.write(piece, at === pieces.length - 1 ? written : undefined)
    }
    this.#socket.uncork()
  }

  end(bytes: Buffer): void {
    if (bytes.length > 0) this.write(bytes)
    this.#phase = 'ended'
    // The caller first notes that the answer is complete.
    process.nextTick(() => this.#finish())
  }

  release(): void {
    this.#released = true
    this.#finish()
  }

  /** All of the request's body has arrived. */
  bodyEnd(): void {
    this.#bodyComplete = true
    this.#finish()
  }

  /** Writes no more. */
  abandon(): void {
    this.#phase = 'finished'
  }

  cut(): void {
    if (this.#phase === 'finished') return
    this.#phase = 'finished'
    // An ordinary end would complete the answer. Sockets in the file system cannot be reset.
    const reset = () =>
      this.#socket.remoteAddress === undefined ? this.#socket.destroy() : this.#socket.resetAndDestroy()
    if (this.#socket.writableLength === 0) reset()
    else this.#socket.write('', reset)
  }

  /** The handler may still read the body when it has answered, and the front server closes at the end of the answer. */
  #finish(): void {
    if (this.#phase !== 'ended' || !(this.#released || this.#bodyComplete)) return
    this.#phase = 'finished'
    const end = this.#codec.renderEnd()
    if (end.length > 0) this.#socket.write(end)
    this.#finished(this.#released)
  }
}
