import { createHash, type Hash } from 'node:crypto'

/**
 * Messages that both ends can make on their own, so that order and content are compared without being kept: the n-th has a size from
 * 0 to `largest` bytes, small ones far more often than large ones, and its number in each of its bytes.
 */
export class MessageStream {
  readonly #largest: number
  #state: number

  constructor(seed: number, largest: number) {
    this.#state = seed
    this.#largest = largest
  }

  /** The next message: text or bytes. */
  next(): string | Buffer {
    const size = Math.floor((this.#largest + 1) ** this.#random()) - 1
    const start = Math.floor(this.#random() * ALPHABET.length)
    const bytes = Buffer.alloc(size, ALPHABET.subarray(start))
    return this.#random() < 0.5 ? bytes.toString('latin1') : bytes
  }

  /** From 0 to 1, the same for the same seed (a linear congruential generator). */
  #random(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return this.#state / 2 ** 32
  }
}

const ALPHABET = Buffer.from('abcdefghijklmnopqrstuvwxyz0123456789'.repeat(2))

/** A checksum over messages, their kinds, lengths and order. */
export class MessageChecksum {
  count = 0
  bytes = 0
  readonly #hash: Hash = createHash('sha1')

  add(message: string | Uint8Array): void {
    const bytes = Buffer.from(message)
    this.#hash.update(`${typeof message === 'string' ? 'text' : 'bytes'} ${bytes.length}:`).update(bytes)
    this.count++
    this.bytes += bytes.length
  }

  toString(): string {
    return `${this.count} messages, ${this.bytes} bytes, sha1 ${this.#hash.copy().digest('hex')}`
  }
}

/** The checksum of the first so many messages of a stream. */
export function checksumOf(stream: MessageStream, count: number): string {
  const checksum = new MessageChecksum()
  for (let n = 0; n < count; n++) checksum.add(stream.next())
  return String(checksum)
}
