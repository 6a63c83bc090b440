import type { WriteProgress } from '../../connection/outbox.ts'

/**
 * After the answer, input is read and discarded for a while: the client may read the answer only after it has sent everything, and a close could
 * destroy the answer. As nginx's `lingering_timeout` (between two parts) and `lingering_time` (in all, from the delivery), in milliseconds.
 */
const LINGER_QUIET = 5000
const LINGER_TIME = 30_000

/** Bounds how long a client that has its answer may go on sending. */
export class LingerClock {
  #inputAt = performance.now()
  #deliveredAt = this.#inputAt

  /** Input came. */
  refresh(): void {
    this.#inputAt = performance.now()
  }

  /**
   * @param answer How far the answer has come.
   * @returns `quiet` when no input came for a while, `late` when the time is over.
   */
  check(answer: WriteProgress): 'going on' | 'quiet' | 'late' {
    const now = performance.now()
    if (answer === 'waiting') this.#inputAt = now
    if (answer !== 'delivered') this.#deliveredAt = now
    if (now - this.#inputAt >= LINGER_QUIET) return 'quiet'
    return now - this.#deliveredAt >= LINGER_TIME ? 'late' : 'going on'
  }
}
