import { MalformedError } from '../malformed.ts'

/** Bits of a frame's first byte (RFC 37, "Framing"). */
const MORE = 1
const LONG = 2
const COMMAND = 4

const SHORT_HEAD = 2
const LONG_HEAD = 9
/** The largest body with a length of one byte. */
const SHORT_LONGEST = 255

/** The bytes that a frame may have where nothing less is agreed on. */
export const MAX_FRAME = 1024 * 1024 * 1024
/** The bytes that a command may have: READY has some hundred, a PING has 23. */
const MAX_COMMAND = 64 * 1024

/** Bodies from this size on are written as they are; below it, copying one costs less than a second entry in a write. */
const JOINED_BELOW = 4096

const NOTHING = Buffer.alloc(0)

/** A frame as it was received. */
export interface Frame {
  /** Its own memory, no part of a larger read. */
  readonly body: Buffer
  /** Bytes of the body as it was sent: more than `body` has where it was cut. */
  readonly size: number
  /** Whether it is for the protocol itself. */
  readonly command: boolean
  /** Whether more of the same message follows. */
  readonly more: boolean
}

/** Which frames of messages are too long, and what becomes of them. Asked for at the head of each frame. */
export interface FrameBounds {
  /** Bytes that a frame's body may have. */
  readonly maxFrame: number
  /** Bytes that are kept of a longer one, the rest is skipped. Without it a longer one is an error. */
  readonly cutTo?: number | undefined
}

/** Takes a stream of bytes apart into frames, wherever reads may have cut it. */
export class FrameParser {
  readonly #take: (frame: Frame) => void
  readonly #bounds: FrameBounds
  /** The beginning of a head that is not complete. */
  #head: Buffer = NOTHING
  /** The frame whose body is not complete, and what there is of it. */
  #partial: Frame | undefined
  #filled = 0
  /** Bytes of the frame's body that are not kept and have not come. */
  #skip = 0

  /** @param take Called for each frame in its turn. */
  constructor(take: (frame: Frame) => void, bounds: FrameBounds = { maxFrame: MAX_FRAME }) {
    this.#take = take
    this.#bounds = bounds
  }

  /**
   * Parses the next bytes of the stream. Bodies are copied out of them, so that one that is kept does not keep all of a read, and the memory
   * that is read into can be used again. Throws MalformedError at a frame that breaks the format or the bound; the parser is of no use then.
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

  /** Goes on with the body under way; returns where the next frame begins. */
  #fill(bytes: Buffer): number {
    const frame = this.#partial
    if (frame === undefined) return 0
    const copied = bytes.copy(frame.body, this.#filled)
    this.#filled += copied
    if (this.#filled === frame.body.length) {
      this.#partial = undefined
      this.#take(frame)
    }
    return copied
  }

  /** Passes over what is not kept of a body; returns where the next frame begins. */
  #skipRest(bytes: Buffer, at: number): number {
    if (this.#partial !== undefined) return at
    const skipped = Math.min(this.#skip, bytes.length - at)
    this.#skip -= skipped
    return at + skipped
  }

  /** How many bytes of a body are kept. */
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

/** A frame's body: in one piece or in several. */
export type FrameBody = Buffer | readonly Buffer[]

/** Renders messages of one frame each. Returns what to write, in order: small pieces are joined, large ones not copied. */
export function renderMessages(bodies: readonly FrameBody[]): Buffer[] {
  return renderFrames(bodies, 0)
}

/** Renders one message of several frames, as `renderMessages` does several of one. */
export function renderMultipart(bodies: readonly Buffer[]): Buffer[] {
  return renderFrames(bodies, MORE)
}

/** @param more The flags of every frame but the last. */
function renderFrames(bodies: readonly FrameBody[], more: number): Buffer[] {
  let size = 0
  for (const body of bodies) size += LONG_HEAD + joinedBytes(body)
  const joined = Buffer.allocUnsafe(size)
  const pieces: Buffer[] = []
  let start = 0
  let at = 0
  let left = bodies.length
  const add = (piece: Buffer) => {
    if (piece.length < JOINED_BELOW) at += piece.copy(joined, at)
    else {
      if (start < at) pieces.push(joined.subarray(start, at))
      pieces.push(piece)
      start = at
    }
  }
  for (const body of bodies) {
    const flags = --left === 0 ? 0 : more
    if (Buffer.isBuffer(body)) {
      at = writeHead(joined, at, flags, body.length)
      add(body)
    } else {
      at = writeHead(
        joined,
        at,
        flags,
        body.reduce((sum, { length }) => sum + length, 0),
      )
      for (const piece of body) add(piece)
    }
  }
  if (start < at) pieces.push(joined.subarray(start, at))
  return pieces
}

/** Bytes of a body that are not written for themselves. */
function joinedBytes(body: FrameBody): number {
  if (Buffer.isBuffer(body)) return body.length < JOINED_BELOW ? body.length : 0
  return body.reduce((sum, { length }) => (length < JOINED_BELOW ? sum + length : sum), 0)
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
