import { bytesOf } from '../bytes.ts'
import { MalformedError } from '../malformed.ts'
import { envelopeOf, type Reply } from '../reply.ts'

/** Bits of a frame's first byte (RFC 37, "Framing"). */
export const MORE = 1
const LONG = 2
const COMMAND = 4

const SHORT_HEAD = 2
const LONG_HEAD = 9
/** The largest body with a length of one byte. */
const SHORT_LONGEST = 255

/** Bytes that a frame may have by default. */
export const MAX_FRAME = 1024 * 1024 * 1024
/** Bytes that a command may have: READY has about a hundred, a PING has 23. */
const MAX_COMMAND = 64 * 1024
/** Bytes that a body must lack for its memory to be worth a read of its own. */
const READ_DIRECTLY_FROM = 32 * 1024
/** Smaller bodies are copied into one buffer, which costs less than another entry in a write. */
const JOINED_BELOW = 4096
const NOTHING = Buffer.alloc(0)

/** A received frame. */
export interface Frame {
  /** Memory of its own, not a part of a larger read. */
  readonly body: Buffer
  /** Bytes of the body as sent: more than `body` has if it was cut. */
  readonly size: number
  readonly command: boolean
  /** Whether more frames of the same message follow. */
  readonly more: boolean
}

/** The bounds of messages' frames, read at the head of each frame. */
export interface FrameBounds {
  /** Bytes that a frame's body may have. */
  readonly maxFrame: number
  /** Bytes that are kept of a longer body. Default: a longer body is an error. */
  readonly cutTo?: number | undefined
}

/** Parses a stream of bytes, in pieces of any size, into frames. */
export class FrameParser {
  readonly #take: (frame: Frame) => void
  readonly #bounds: FrameBounds
  /** An incomplete head. */
  #head: Buffer = NOTHING
  /** The frame whose body is incomplete, and the bytes it has. */
  #partial: Frame | undefined
  #filled = 0
  /** Bytes of the frame's body still to be skipped. */
  #skip = 0

  /** @param take Called for each frame. */
  constructor(take: (frame: Frame) => void, bounds: FrameBounds = { maxFrame: MAX_FRAME }) {
    this.#take = take
    this.#bounds = bounds
  }

  /**
   * Parses the next bytes of the stream. Copies bodies, so that the memory of the read can be reused. Throws MalformedError for a frame that
   * breaks the format or a bound; then the parser cannot continue.
   */
  push(read: Buffer): void {
    const bytes = this.#head.length === 0 ? read : Buffer.concat([this.#head, read])
    this.#head = NOTHING
    let at = this.#skipRest(bytes, this.#fill(bytes))
    while (at < bytes.length) {
      const flags = bytes[at] as number
      if (flags > (MORE | LONG | COMMAND) || (flags & (MORE | COMMAND)) === (MORE | COMMAND)) {
        throw new MalformedError(`expected a frame's flags, got 0x${flags.toString(16).padStart(2, '0')}`)
      }
      const start = at + ((flags & LONG) === 0 ? SHORT_HEAD : LONG_HEAD)
      if (start > bytes.length) {
        this.#head = Buffer.from(bytes.subarray(at))
        return
      }
      const size = (flags & LONG) === 0 ? (bytes[at + 1] as number) : longSize(bytes, at + 1)
      const command = (flags & COMMAND) !== 0
      const kept = this.#keptOf(size, command)
      const body = Buffer.allocUnsafe(kept)
      bytes.copy(body, 0, start, start + kept)
      const frame = { body, size, command, more: (flags & MORE) !== 0 }
      at = start + kept
      this.#skip = size - kept
      if (at > bytes.length) {
        this.#partial = frame
        this.#filled = bytes.length - start
        return
      }
      this.#take(frame)
      at = this.#skipRest(bytes, at)
    }
  }

  /** The memory that the next bytes of the stream belong to, where a large body is incomplete. What is read there is told by `filled`. */
  get place(): Buffer | undefined {
    const body = this.#partial?.body
    if (body === undefined || body.length - this.#filled < READ_DIRECTLY_FROM) return undefined
    return body.subarray(this.#filled)
  }

  /** Goes on after so many bytes of the stream were read into `place`. */
  filled(size: number): void {
    const frame = this.#partial
    if (frame === undefined) return
    this.#filled += size
    if (this.#filled < frame.body.length) return
    this.#partial = undefined
    this.#take(frame)
  }

  /** Fills the incomplete body; returns the position of the next frame. */
  #fill(bytes: Buffer): number {
    const copied = this.#partial === undefined ? 0 : bytes.copy(this.#partial.body, this.#filled)
    this.filled(copied)
    return copied
  }

  /** Skips the rest of a cut body; returns the position of the next frame. */
  #skipRest(bytes: Buffer, at: number): number {
    if (this.#partial !== undefined) return at
    const skipped = Math.min(this.#skip, bytes.length - at)
    this.#skip -= skipped
    return at + skipped
  }

  /** Bytes of a body that are kept. */
  #keptOf(size: number, command: boolean): number {
    const { maxFrame, cutTo } = this.#bounds
    const most = command ? Math.min(maxFrame, MAX_COMMAND) : maxFrame
    if (size <= most) return size
    if (command || cutTo === undefined) {
      const what = command ? 'command' : 'frame'
      throw new MalformedError(`a ${what} of ${size} bytes is larger than the ${most} that one may have`)
    }
    return cutTo
  }
}

function longSize(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)
}

/**
 * Renders messages of one frame each. Returns the pieces to write: what is small is joined, large pieces are not copied.
 *
 * @param more The flags of every frame but the last: with `MORE` they are one message.
 */
export function renderMessages(bodies: readonly Reply[], more = 0): Buffer[] {
  const envelopes: string[] = []
  let room = 0
  for (const body of bodies) {
    const envelope = Buffer.isBuffer(body) ? '' : envelopeOf(body)
    envelopes.push(envelope)
    room += LONG_HEAD + envelope.length
    for (const { length } of payloadOf(body)) if (length < JOINED_BELOW) room += length
  }
  const joined = Buffer.allocUnsafe(room)
  const pieces: Buffer[] = []
  let start = 0
  let at = 0
  for (let n = 0; n < bodies.length; n++) {
    const envelope = envelopes[n] as string
    const payload = payloadOf(bodies[n] as Reply)
    let size = envelope.length
    for (const { length } of payload) size += length
    at = writeHead(joined, at, n === bodies.length - 1 ? 0 : more, size)
    if (envelope !== '') at += joined.write(envelope, at, 'latin1')
    for (const piece of payload) {
      if (piece.length < JOINED_BELOW) {
        joined.set(piece, at)
        at += piece.length
      } else {
        if (start < at) pieces.push(joined.subarray(start, at))
        pieces.push(bytesOf(piece))
        start = at
      }
    }
  }
  if (start < at) pieces.push(joined.subarray(start, at))
  return pieces
}

function payloadOf(body: Reply): readonly Uint8Array[] {
  return Buffer.isBuffer(body) ? [body] : body.payload
}

/** Renders a command's frame around its body. */
export function renderCommandFrame(body: Buffer): Buffer {
  const frame = Buffer.allocUnsafe((body.length > SHORT_LONGEST ? LONG_HEAD : SHORT_HEAD) + body.length)
  body.copy(frame, writeHead(frame, 0, COMMAND, body.length))
  return frame
}

function writeHead(target: Buffer, at: number, flags: number, size: number): number {
  if (size <= SHORT_LONGEST) {
    target[at] = flags
    target[at + 1] = size
    return at + SHORT_HEAD
  }
  target[at] = flags | LONG
  target.writeUInt32BE(Math.floor(size / 2 ** 32), at + 1)
  target.writeUInt32BE(size % 2 ** 32, at + 5)
  return at + LONG_HEAD
}
