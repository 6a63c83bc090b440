import type { FeedbackSource } from '../../connection/pacing/feedback.ts'

/**
 * A control port for several threads, which ask one question at a time. Who asks while a question is under way gets the answer to the next one:
 * the connection may be newer than the question, and would seem to be gone.
 */
export function shareFeedback(source: FeedbackSource): FeedbackSource {
  let last: Promise<unknown> = Promise.resolve()
  let next: Promise<Map<number, number>> | undefined
  const ask = () => {
    next = undefined
    const answer = source.bytesWritten()
    last = answer
    return answer
  }
  const bytesWritten = () => {
    next ??= last.then(ask, ask)
    return next
  }
  return { address: source.address, bytesWritten, close: () => source.close() }
}
