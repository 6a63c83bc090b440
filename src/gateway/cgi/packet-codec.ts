import { MalformedError } from '../../wire/malformed.ts'
import { type Codec, copyInto, type Incoming, joinedSize } from './codec.ts'
import type { Variables } from './variables.ts'

/** A packet of variables. */
export interface Packet {
  readonly variables: Variables
  /** Its bytes. */
  readonly size: number
}

const NOTHING = Buffer.alloc(0)

/** A protocol of one request on a connection: a packet of variables, then a body of CONTENT_LENGTH bytes; the answer ends with the connection. */
export abstract class PacketCodec implements Codec {
  readonly keepsAlive = false
  /** Bytes of variables that a packet may have. */
  protected readonly most: number
  /** An incomplete packet. */
  #pending: Buffer = NOTHING
  /** Bytes of the body that are missing; undefined before the packet. */
  #missing: number | undefined

  constructor(most: number) {
    this.most = most
  }

  /** Parses a packet; undefined if it is incomplete. Throws MalformedError as soon as no more bytes could make it right. */
  protected abstract parse(bytes: Buffer): Packet | undefined
  abstract readonly beforeStatus: Codec['beforeStatus']

  get partial(): boolean {
    return this.#pending.length > 0
  }

  read(bytes: Buffer, take: (incoming: Incoming) => void): void {
    let rest = bytes
    if (this.#missing === undefined) {
      const all = this.partial ? Buffer.concat([this.#pending, bytes]) : bytes
      const packet = this.parse(all)
      this.#pending = packet === undefined ? all : NOTHING
      if (packet === undefined) return
      const { variables, size } = packet
      rest = all.subarray(size)
      this.#missing = variables.contentLength ?? 0
      take({ type: 'request', variables, length: this.#missing })
      if (this.#missing === 0) take({ type: 'body end' })
    }
    if (rest.length === 0) return
    const body = rest.subarray(0, this.#missing)
    const more = rest.length - body.length
    this.#missing -= body.length
    if (body.length > 0) take({ type: 'body', bytes: body })
    if (body.length > 0 && this.#missing === 0) take({ type: 'body end' })
    if (more > 0) throw new MalformedError(`expected the end after the body, got ${more} bytes more`)
  }

  frame(head: string, pieces: readonly Buffer[]): readonly Buffer[] {
    const size = joinedSize(head, pieces)
    if (size === undefined) return head === '' ? pieces : [Buffer.from(head, 'latin1'), ...pieces]
    if (size === 0) return []
    const joined = Buffer.allocUnsafe(size)
    copyInto(joined, 0, head, pieces)
    return [joined]
  }

  renderFault(): Buffer {
    return NOTHING
  }
}
