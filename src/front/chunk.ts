/** `MAX_CHUNK_SIZE`: Mongrel2 ends a connection that sends a larger chunk. */
const MAX_CHUNK_SIZE = 100 * 1024
/** Digits of a size, extensions included, that it looks at. */
const MAX_SIZE_DIGITS = 8
const CRLF = '\r\n'

/** A chunk of a body: where its data stands and where the next one begins. The last has no data. */
export interface Chunk {
  readonly start: number
  readonly end: number
  readonly next: number
}

/**
 * Finds the chunk that begins at the first byte.
 *
 * @param eager Whether a chunk is complete without the line's end behind its data, which then is no part of it.
 * @returns `incomplete` when there is more to come, `broken` for what Mongrel2 refuses.
 */
export function chunkIn(bytes: Buffer, trailersMost: number, eager: boolean): Chunk | 'incomplete' | 'broken' {
  const sizeEnd = bytes.subarray(0, MAX_SIZE_DIGITS + CRLF.length).indexOf(CRLF)
  if (sizeEnd === -1) return bytes.length > MAX_SIZE_DIGITS + 1 ? 'broken' : 'incomplete'
  // A size that is no number ends the body.
  const size = Number.parseInt(bytes.toString('latin1', 0, sizeEnd), 16) || 0
  if (size > MAX_CHUNK_SIZE) return 'broken'
  const start = sizeEnd + CRLF.length
  if (size <= 0) return lastChunk(bytes, sizeEnd, start, trailersMost)
  const end = start + size
  const next = eager ? end : end + CRLF.length
  if (bytes.length < next) return 'incomplete'
  return eager || bytes.toString('latin1', end, next) === CRLF ? { start, end, next } : 'broken'
}

/** Trailers are dropped. */
function lastChunk(bytes: Buffer, sizeEnd: number, start: number, most: number): Chunk | 'incomplete' | 'broken' {
  const end = bytes.indexOf(CRLF + CRLF, sizeEnd, 'latin1')
  if (end === -1) return bytes.length > most ? 'broken' : 'incomplete'
  return { start, end: start, next: end + 2 * CRLF.length }
}
