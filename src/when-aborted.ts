/**
 * Calls an action when a signal is aborted, at once if it is already; never without a signal.
 *
 * @returns Forgets the action.
 */
export function whenAborted(signal: AbortSignal | undefined, action: () => void): () => void {
  if (signal?.aborted === true) action()
  else signal?.addEventListener('abort', action, { once: true })
  return () => signal?.removeEventListener('abort', action)
}
