import type { WriteProgress } from '../../connection/outbox.ts'

/** Longest time between two parts, as nginx's `lingering_timeout`, in milliseconds. */
const LINGER_QUIET = 5000
/** Longest time in all, from the delivery of the answer, as nginx's `lingering_time`. */
const LINGER_TIME = 30_000

/** Bounds how long a client may go on sending after its answer: it may read that only then, and a close could destroy the answer. */
export class LingerClock {
  #inputAt = performance.now()
  #deliveredAt = this.#inputAt

  /** Input came. */
  refresh(): void {
    this.#inputAt = performance.now()
  }

  /** Returns `quiet` when no input came for a while, `late` when the time since the delivery of the answer is over. */
  check(answer: WriteProgress): 'going on' | 'quiet' | 'late' {
    const now = performance.now()
    if (answer === 'waiting') this.#inputAt = now
    if (answer !== 'delivered') this.#deliveredAt = now
    if (now - this.#inputAt >= LINGER_QUIET) return 'quiet'
    return now - this.#deliveredAt >= LINGER_TIME ? 'late' : 'going on'
  }
}
