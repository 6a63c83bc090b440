import { CLOSE_CODE, FLAGS, LENGTH_16, LENGTH_64, MOST_CONTROL_BYTES, protocolError, WebSocketFault } from './frames.ts'

/** A message or a control frame of a WebSocket client. */
interface ClientMessage {
  /** The first byte: FIN, the reserved bits and the opcode. For a fragmented message that of the first frame, and FIN. */
  readonly flags: number
  /** Unmasked, fragments joined. */
  readonly payload: Buffer
}

const CONTROL = 0x08
const MASKED = 0x80
const LENGTH = 0x7f
const KEY_SIZE = 4
/** Two bytes, a length of eight and the masking key. */
const LONGEST_HEAD = 14

/**
 * Reads the frames of a WebSocket client (RFC 6455, section 5) as Mongrel2 does: joins fragments, yields control frames at once, even between
 * fragments, and does not check the reserved bits. Memory grows with the payload received, not with the length that a frame announces.
 */
export class WebSocketReader {
  readonly #maxSize: number
  readonly #head = Buffer.alloc(LONGEST_HEAD)
  #headSize = 0
  /** Bytes of the frame's payload still to come; undefined while its head is incomplete. */
  #missing: number | undefined
  #masked = 0
  #message: Payload | undefined
  #control: Payload | undefined

  /** @param maxSize Bytes that a message may have. */
  constructor(maxSize: number) {
    this.#maxSize = maxSize
  }

  /** Yields the messages and control frames that end in these bytes. Throws WebSocketFault 1002 for a bad frame, 1009 for a long message. */
  *read(bytes: Buffer): Generator<ClientMessage> {
    for (let at = 0; at < bytes.length; ) {
      if (this.#missing === undefined) at = this.#readHead(bytes, at)
      else at = this.#readPayload(bytes, at, this.#missing)
      if (this.#missing !== 0) continue
      const whole = this.#endFrame()
      if (whole !== undefined) yield whole
    }
  }

  #readHead(bytes: Buffer, from: number): number {
    let at = from
    while (at < bytes.length) {
      this.#head[this.#headSize++] = bytes[at++] as number
      if (this.#headSize === 2) this.#check()
      const length = payloadLength(this.#head, this.#headSize, KEY_SIZE)
      if (length !== undefined) {
        this.#begin(length)
        break
      }
    }
    return at
  }

  /** Checks a frame's first two bytes. */
  #check(): void {
    const [flags = 0, second = 0] = this.#head
    const control = (flags & CONTROL) !== 0
    const cut = control && (!(flags & FLAGS.fin) || (second & LENGTH) > MOST_CONTROL_BYTES)
    if (!(second & MASKED)) throw protocolError('a frame that is not masked')
    if (cut) throw protocolError('a control frame that is cut or too long')
    if (!control && ((flags & FLAGS.opcode) === 0) !== (this.#message !== undefined)) {
      throw protocolError('fragments that do not fit together')
    }
  }

  #begin(length: number): void {
    const [flags = 0] = this.#head
    if (flags & CONTROL) this.#control = new Payload(flags)
    else this.#message ??= new Payload(flags | FLAGS.fin)
    if (this.#control === undefined && (this.#message?.size ?? 0) + length > this.#maxSize) {
      throw new WebSocketFault(CLOSE_CODE.tooBig, `a message of more than ${this.#maxSize} bytes`)
    }
    this.#missing = length
    this.#masked = 0
  }

  #readPayload(bytes: Buffer, at: number, missing: number): number {
    const end = Math.min(bytes.length, at + missing)
    const key = this.#head.subarray(this.#headSize - KEY_SIZE, this.#headSize)
    const payload = this.#control ?? this.#message
    payload?.append(bytes, at, end, key, this.#masked)
    this.#masked = (this.#masked + end - at) % KEY_SIZE
    this.#missing = missing - (end - at)
    return end
  }

  #endFrame(): ClientMessage | undefined {
    const fin = ((this.#head[0] as number) & FLAGS.fin) !== 0
    const whole = this.#control ?? (fin ? this.#message : undefined)
    if (this.#control !== undefined) this.#control = undefined
    else if (fin) this.#message = undefined
    this.#missing = undefined
    this.#headSize = 0
    return whole?.finish()
  }
}

/** An incomplete payload, in one growing buffer. */
class Payload {
  readonly #flags: number
  #bytes: Buffer = Buffer.alloc(0)
  size = 0

  constructor(flags: number) {
    this.#flags = flags
  }

  /** Unmasks and appends bytes; `phase` is the position of the first in the key. */
  append(bytes: Buffer, start: number, end: number, key: Buffer, phase: number): void {
    const needed = this.size + end - start
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length))
      this.#bytes.copy(grown, 0, 0, this.size)
      this.#bytes = grown
    }
    const target = this.#bytes
    let to = this.size
    for (let at = start; at < end; at++, to++) {
      target[to] = (bytes[at] as number) ^ (key[(phase + at - start) % KEY_SIZE] as number)
    }
    this.size = needed
  }

  finish(): ClientMessage {
    return { flags: this.#flags, payload: this.#bytes.subarray(0, this.size) }
  }
}

/** The length of a frame's payload; undefined while its head (two bytes, an extended length, a key) is incomplete. */
function payloadLength(head: Buffer, size: number, keySize: number): number | undefined {
  if (size < 2) return undefined
  const short = (head[1] as number) & LENGTH
  const lengthSize = short === LENGTH_16 ? 2 : short === LENGTH_64 ? 8 : 0
  if (size < 2 + lengthSize + keySize) return undefined
  if (lengthSize === 0) return short
  return lengthSize === 2 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2))
}

/** Follows the unmasked frames of a server, in pieces of any size. */
export class FrameFollower {
  readonly #head = Buffer.alloc(LONGEST_HEAD)
  #headSize = 0
  /** Bytes of the frame still to come. */
  #missing = 0

  /** Whether a frame has ended and the next has not begun. */
  get betweenFrames(): boolean {
    return this.#missing === 0 && this.#headSize === 0
  }

  push(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.#missing > 0) {
        const size = Math.min(this.#missing, bytes.length - at)
        this.#missing -= size
        at += size
        continue
      }
      this.#head[this.#headSize++] = bytes[at++] as number
      const length = payloadLength(this.#head, this.#headSize, 0)
      if (length === undefined) continue
      this.#missing = length
      this.#headSize = 0
    }
  }
}
