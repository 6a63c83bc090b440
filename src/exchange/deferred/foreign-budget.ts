import {
  type EstimateBounds,
  EstimatePacing,
  type EstimateSettings,
  FOREIGN_MESSAGES,
  WaitingBudget,
} from '../../connection/pacing/estimate-pacing.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'

/** From so many sockets on, those that have read everything are forgotten. */
const LEAST = 1024

/** What may be sent to sockets from outside, where nobody tells what their clients have read: each has a share of Mongrel2's places. */
export class ForeignBudget {
  readonly #settings: EstimateSettings
  readonly #bounds: EstimateBounds
  readonly #unlimited = new WaitingBudget(Number.POSITIVE_INFINITY)
  readonly #pacings = new Map<string, EstimatePacing>()
  #sweepAt = LEAST

  constructor(settings: EstimateSettings) {
    this.#settings = settings
    const { maxBufferedBytes } = settings
    this.#bounds = { messages: FOREIGN_MESSAGES, bytes: maxBufferedBytes, messageBytes: maxBufferedBytes }
  }

  /** @throws Mongrel2Error `over_budget` when a message of so many bytes is too much for a socket now. */
  take(token: string, bytes: number): void {
    const now = performance.now()
    const { maxBufferedBytes, minClientRate } = this.#settings
    const pacing = this.#pacings.get(token) ?? new EstimatePacing(this.#settings, this.#unlimited, this.#bounds)
    if (bytes + pacing.undelivered(now) > maxBufferedBytes || pacing.allowance(bytes, true, now) < bytes) {
      throw new Mongrel2Error(
        'over_budget',
        `expected at most ${FOREIGN_MESSAGES} messages and ${maxBufferedBytes} bytes to be on their way to one socket, whose client is taken to read ` +
          `${minClientRate} bytes a second: try again later, or let the process that has the socket send it`,
      )
    }
    pacing.published(bytes, now)
    this.#pacings.set(token, pacing)
    if (this.#pacings.size >= this.#sweepAt) this.#sweep(now)
  }

  #sweep(now: number): void {
    for (const [token, pacing] of this.#pacings) if (pacing.settled(now)) this.#pacings.delete(token)
    this.#sweepAt = Math.max(LEAST, 2 * this.#pacings.size)
  }
}
