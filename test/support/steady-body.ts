import { createHash } from 'node:crypto'

const MIB = 1024 * 1024
/** The longest chunk. */
const MOST = 64 * 1024
/** Steps from one chunk to the next: coprime to 1 MiB, so that a million chunks begin at different places. */
const STEP = 7919

/** Bytes without a pattern, the same in each process. */
const NOISE = (() => {
  const bytes = Buffer.alloc(MIB + MOST)
  let state = 1
  for (let at = 0; at < bytes.length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    bytes[at] = state >>> 16
  }
  return bytes
})()

/** The bytes of a chunk by its number; no two of a million are alike. */
function chunkOf(number: number, size: number): Buffer {
  const start = (number * STEP) % MIB
  return NOISE.subarray(start, start + size)
}

/**
 * A body of so many bytes that is produced as fast as it is read, in chunks of up to 64 KiB. A chunk lost, doubled or misplaced
 * changes its digest.
 *
 * @param pulled Called when a chunk is asked for, with the bytes that were produced before.
 */
export function steadyBody(
  size: number,
  chunkSize: number,
  pulled?: (before: number) => void,
): ReadableStream<Uint8Array> {
  let produced = 0
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        pulled?.(produced)
        const chunk = chunkOf(produced / chunkSize, Math.min(chunkSize, size - produced))
        produced += chunk.length
        controller.enqueue(chunk)
        if (produced === size) controller.close()
      },
    },
    { highWaterMark: 0 },
  )
}

/** The SHA-256 of such a body, in hexadecimal digits. */
export function steadyDigest(size: number, chunkSize: number): string {
  const hash = createHash('sha256')
  for (let at = 0; at < size; at += chunkSize) hash.update(chunkOf(at / chunkSize, Math.min(chunkSize, size - at)))
  return hash.digest('hex')
}
