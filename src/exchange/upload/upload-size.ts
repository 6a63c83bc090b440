import { stat } from 'node:fs/promises'

/** How often a file that grows is looked at, in milliseconds. */
const INTERVAL = 100

/**
 * Watches the file of a body that came without a length while Mongrel2 writes it.
 *
 * @param most Bytes that it may have.
 * @param tooLarge Called once, when it has more.
 * @returns Stops watching.
 */
export function watchUploadSize(path: string, most: number, tooLarge: () => void): () => void {
  let watching = true
  const stop = () => {
    watching = false
    clearInterval(timer)
  }
  const look = async () => {
    // A file that cannot be seen cannot be opened in the end either, which is answered then.
    const size = await stat(path).then(
      (status) => status.size,
      () => 0,
    )
    if (!watching || size <= most) return
    stop()
    tooLarge()
  }
  const timer = setInterval(() => void look(), INTERVAL).unref()
  return stop
}
