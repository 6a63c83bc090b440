import { MAX_CONTENT_LENGTH } from '../wire/limits.ts'
import { MalformedError } from '../wire/malformed.ts'
import type { ByteReader } from './byte-reader.ts'

/** A message of a WebSocket's client, or one of its control frames. */
export interface ClientFrame {
  /** The first byte: FIN, the reserved bits and the opcode. Of a message in fragments those of the first, and FIN. */
  readonly flags: number
  /** Unmasked, fragments joined. */
  readonly payload: Buffer
}

const FIN = 0x80
const CONTROL = 0x08
const OPCODE = 0x0f
const MASKED = 0x80
const KEY_SIZE = 4

/** Reads what a WebSocket's client sends (RFC 6455, section 5), as Mongrel2 does: control frames come at once, amid fragments too. */
export class FrameReader {
  readonly #reader: ByteReader
  /** The fragments of a message that has not ended. */
  #begun: { readonly flags: number; readonly fragments: Buffer[] } | undefined

  constructor(reader: ByteReader) {
    this.#reader = reader
  }

  /**
   * The next message or control frame; undefined when the client has left.
   *
   * @throws MalformedError for a frame that ends the connection.
   */
  async next(): Promise<ClientFrame | undefined> {
    for (;;) {
      const frame = await this.#frame()
      if (frame === undefined) return undefined
      const { flags, payload } = frame
      if (flags & CONTROL) return frame
      this.#begun ??= { flags, fragments: [] }
      this.#begun.fragments.push(payload)
      if (flags & FIN) {
        const whole = { flags: this.#begun.flags | FIN, payload: Buffer.concat(this.#begun.fragments) }
        this.#begun = undefined
        return whole
      }
    }
  }

  async #frame(): Promise<ClientFrame | undefined> {
    const head = await this.#reader.takeAll(2)
    if (head === undefined) return undefined
    const [flags = 0, second = 0] = head
    const short = second & ~MASKED
    this.#check(flags, second, short)
    const length = await this.#length(short)
    if (length === undefined) return undefined
    if (length > MAX_CONTENT_LENGTH) throw new MalformedError(`a frame of ${length} bytes is too long`)
    const masked = await this.#reader.takeAll(KEY_SIZE + length)
    return masked === undefined ? undefined : { flags, payload: unmask(masked) }
  }

  #check(flags: number, second: number, length: number): void {
    const control = (flags & CONTROL) !== 0
    const continuation = (flags & OPCODE) === 0
    if (!(second & MASKED)) throw new MalformedError('a frame is not masked')
    if (control && (!(flags & FIN) || length >= 126)) throw new MalformedError('a control frame is cut or too long')
    if (!control && continuation !== (this.#begun !== undefined))
      throw new MalformedError('fragments do not fit together')
  }

  async #length(short: number): Promise<number | undefined> {
    if (short < 126) return short
    const long = await this.#reader.takeAll(short === 126 ? 2 : 8)
    if (long === undefined) return undefined
    return short === 126 ? long.readUInt16BE() : Number(long.readBigUInt64BE())
  }
}

/** Takes the mask off a payload that stands behind its key. */
function unmask(masked: Buffer): Buffer {
  const payload = Buffer.from(masked.subarray(KEY_SIZE))
  for (let at = 0; at < payload.length; at++) payload[at] = (payload[at] as number) ^ (masked[at % KEY_SIZE] as number)
  return payload
}
