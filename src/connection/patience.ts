import type { Connection } from './connection.ts'

/** How long a client may take nothing of what is left for it, in milliseconds. */
const PATIENCE = 10_000

/**
 * Cuts a connection when its client takes nothing of what is left for it for ten seconds, or has it all and does not leave.
 *
 * @returns Ends the wait.
 */
export function cutWhenStuck(connection: Connection): () => void {
  let before = Number.POSITIVE_INFINITY
  let timer: NodeJS.Timeout
  const wait = () => {
    timer = setTimeout(() => {
      const left = connection.undelivered()
      if (left === 0 || left >= before) return connection.cut()
      before = left
      wait()
    }, PATIENCE).unref()
  }
  wait()
  return () => clearTimeout(timer)
}
