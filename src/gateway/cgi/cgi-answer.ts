import type { Socket } from 'node:net'
import type { ResponseHead } from '../../wire/response-parser.ts'
import type { Answer } from '../request.ts'
import { endToEnd } from '../response-fields.ts'
import type { Codec } from './codec.ts'

/** Pieces of a turn with up to so many bytes are joined, which costs less than separate writes. */
const JOINED = 16 * 1024

/** An answer on a front server's connection. What is written in one turn goes out together. */
export class CgiAnswer implements Answer {
  readonly #socket: Socket
  readonly #codec: Codec
  readonly #finished: (released: boolean) => void
  #released = false
  #bodyComplete = false
  #phase: 'open' | 'ended' | 'finished' = 'open'
  #pieces: Buffer[] = []
  #written: (() => void)[] = []
  #scheduled = false
  begun = false

  /** @param finished Called when the answer is written, unless it was cut, and the connection may go on or end. */
  constructor(socket: Socket, codec: Codec, finished: (released: boolean) => void) {
    this.#socket = socket
    this.#codec = codec
    this.#finished = finished
  }

  begin({ status, reason, fields }: ResponseHead): void {
    this.begun = true
    // Servers would read a field `Status` as the status.
    this.#pieces.push(this.#codec.renderHead(status, reason, endToEnd(fields, 'status')))
    this.#schedule()
  }

  flush(): void {}

  write(bytes: Buffer, written: () => void): void {
    this.#pieces.push(bytes)
    this.#written.push(written)
    this.#schedule()
  }

  end(bytes: Buffer): void {
    if (bytes.length > 0) this.#pieces.push(bytes)
    this.#phase = 'ended'
    // The caller first notes that the answer is complete.
    this.#schedule()
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
    this.#writeAll(false)
    this.#phase = 'finished'
    // An ordinary end would complete the answer. Sockets in the file system cannot be reset.
    const reset = () =>
      this.#socket.remoteAddress === undefined ? this.#socket.destroy() : this.#socket.resetAndDestroy()
    if (this.#socket.writableLength === 0) reset()
    else this.#socket.write('', reset)
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    process.nextTick(() => {
      this.#scheduled = false
      this.#finish()
      this.#writeAll(false)
    })
  }

  /** The handler may still read the body when it has answered, and the front server closes at the end of the answer. */
  #finish(): void {
    if (this.#phase !== 'ended' || this.#scheduled || !(this.#released || this.#bodyComplete)) return
    this.#writeAll(true)
    this.#phase = 'finished'
    this.#finished(this.#released)
  }

  /** @param ended Whether the answer ends with it. */
  #writeAll(ended: boolean): void {
    const pieces = this.#pieces
    const written = this.#written
    if ((pieces.length === 0 && !ended) || this.#phase === 'finished') return
    this.#pieces = []
    this.#written = []
    let size = 0
    for (const { length } of pieces) size += length
    const joined = size <= JOINED ? [Buffer.concat(pieces, size)] : pieces
    const framed = joined.flatMap((piece, at) => this.#codec.frame(piece, ended && at === joined.length - 1))
    const done =
      written.length === 0
        ? undefined
        : () => {
            for (const call of written) call()
          }
    if (framed.length === 0) return
    const [only, ...others] = framed
    if (only !== undefined && others.length === 0) return void this.#socket.write(only, done)
    if (size <= JOINED) return void this.#socket.write(Buffer.concat(framed), done)
    this.#socket.cork()
    for (const [at, piece] of framed.entries()) this.#socket.write(piece, at === framed.length - 1 ? done : undefined)
    this.#socket.uncork()
  }
}
