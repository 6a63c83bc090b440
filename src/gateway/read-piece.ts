import type { Readable } from 'node:stream'

/** Events by which a stream says that `read` may give something else now. */
const NEWS = ['readable', 'end', 'close', 'error'] as const

/**
 * Reads a piece of at most so many bytes once there is one, so that what nobody asks for stays with the client.
 *
 * @returns undefined when the stream has ended, or was destroyed before its end.
 */
export async function readPiece(stream: Readable, most: number): Promise<Buffer | undefined> {
  for (;;) {
    const piece: unknown =
      stream.readableLength === 0 ? stream.read() : stream.read(Math.min(most, stream.readableLength))
    if (piece instanceof Buffer) return piece
    if (stream.readableEnded || stream.destroyed) return undefined
    await news(stream)
  }
}

function news(stream: Readable): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const event of NEWS) stream.off(event, done)
      resolve()
    }
    for (const event of NEWS) stream.on(event, done)
  })
}
