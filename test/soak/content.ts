import { createHash } from 'node:crypto'

/** A prime, so that no piece of a power of two falls on its own repetition. */
const RING_SIZE = 1_048_573

/** Bytes of a fixed pseudo-random sequence (xorshift, the same in each process), from which all content is cut. */
const ring = createRing()

/** The bytes from `from` of the content that belongs to a seed: a piece that is lost, doubled, moved or another's differs. */
export function contentOf(seed: number, size: number, from = 0): Buffer {
  const pieces = [...piecesOf(seed, size, from)]
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
}

/** What a response's body has to be. */
export interface Expected {
  readonly size: number
  /** Whether bytes are its beginning, or all of it. */
  beginsWith(bytes: Buffer): boolean
}

export function expectContent(seed: number, size: number): Expected {
  return {
    size,
    beginsWith(bytes) {
      if (bytes.length > size) return false
      let at = 0
      for (const piece of piecesOf(seed, bytes.length, 0)) {
        if (!piece.equals(bytes.subarray(at, at + piece.length))) return false
        at += piece.length
      }
      return true
    },
  }
}

export function expectText(text: string): Expected {
  return { size: text.length, beginsWith: (bytes) => text.startsWith(bytes.toString('latin1')) }
}

/** What the app answers to a body that it has read: its length and its SHA-256. */
export function digestOf(seed: number, size: number): string {
  const hash = createHash('sha256')
  for (const piece of piecesOf(seed, size, 0)) hash.update(piece)
  return `${size} ${hash.digest('hex')}`
}

function* piecesOf(seed: number, size: number, from: number): Generator<Buffer> {
  let at = (seed + from) % RING_SIZE
  for (let left = size; left > 0; ) {
    const piece = ring.subarray(at, Math.min(at + left, RING_SIZE))
    yield piece
    left -= piece.length
    at = 0
  }
}

function createRing(): Buffer {
  const words = new Uint32Array(Math.ceil(RING_SIZE / 4))
  let state = 0x9e3779b9
  for (let n = 0; n < words.length; n++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[n] = state
  }
  return Buffer.from(words.buffer, 0, RING_SIZE)
}
