import type { WriteProgress } from '../../connection/outbox.ts'

/**
 * Behind the answer, what the client still sends is read and thrown away as long as something comes: the client may not look for the
 * answer before it has written everything, and a close would take it away. nginx's `lingering_timeout` and `lingering_time`, in
 * milliseconds: between two parts, and in all from when the answer was delivered.
 */
const LINGER_QUIET = 5000
const LINGER_TIME = 30_000

/** How long a client that has its answer may go on sending. */
export class LingerClock {
  #heardAt = performance.now()
  #deliveredAt = this.#heardAt

  /** Something came. */
  heard(): void {
    this.#heardAt = performance.now()
  }

  /**
   * @param answer How far the answer has come.
   * @returns `quiet` when nothing came for a while, `late` when the client has had its time.
   */
  check(answer: WriteProgress): 'going on' | 'quiet' | 'late' {
    const now = performance.now()
    if (answer === 'waiting') this.#heardAt = now
    if (answer !== 'delivered') this.#deliveredAt = now
    if (now - this.#heardAt >= LINGER_QUIET) return 'quiet'
    return now - this.#deliveredAt >= LINGER_TIME ? 'late' : 'going on'
  }
}
