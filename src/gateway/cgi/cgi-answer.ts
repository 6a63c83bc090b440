import type { Socket } from 'node:net'
import type { ResponseHead } from '../../wire/response-parser.ts'
import type { Answer } from '../request.ts'
import { isHopByHop } from '../response-fields.ts'
import type { Codec } from './codec.ts'

/** An answer on a front server's connection. What is written in one turn goes out together. */
export class CgiAnswer implements Answer {
  readonly #socket: Socket
  readonly #codec: Codec
  readonly #finished: (released: boolean) => void
  #released = false
  #bodyComplete = false
  #phase: 'open' | 'ended' | 'finished' = 'open'
  #head = ''
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
    let head = `${this.#codec.beforeStatus} ${status} ${reason}\r\n`
    for (let at = 0; at < fields.length; at += 2) {
      const name = (fields[at] as string).toLowerCase()
      // Servers would read a field `Status` as the status.
      if (name !== 'status' && !isHopByHop(name)) head += `${fields[at]}: ${fields[at + 1]}\r\n`
    }
    this.#head = `${head}\r\n`
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
    const head = this.#head
    const pieces = this.#pieces
    const written = this.#written
    if ((head === '' && pieces.length === 0 && !ended) || this.#phase === 'finished') return
    this.#head = ''
    this.#pieces = []
    this.#written = []
    const framed = this.#codec.frame(head, pieces, ended)
    const last = framed.length - 1
    const done =
      written.length === 0
        ? undefined
        : () => {
            for (const call of written) call()
          }
    if (last > 0) this.#socket.cork()
    for (const [at, piece] of framed.entries()) this.#socket.write(piece, at === last ? done : undefined)
    if (last > 0) this.#socket.uncork()
  }
}
