import { FLOW_CONTROL_WINDOW } from '../../wire/limits.ts'
import type { Pacing } from './pacing.ts'

/** Pacing by credits, where Mongrel2 runs with `download.flow_control`: it reports each byte that it has written. */
export class CreditPacing implements Pacing {
  readonly mode = 'credits'
  readonly strict = true
  readonly waitingLimit = FLOW_CONTROL_WINDOW
  #outstanding: number

  /** @param outstanding Bytes that were published before and are not written yet. */
  constructor(outstanding = 0) {
    this.#outstanding = outstanding
  }

  allowance(waiting: number): number {
    return Math.min(waiting, FLOW_CONTROL_WINDOW - this.#outstanding)
  }

  published(bytes: number): void {
    this.#outstanding += bytes
  }

  credited(bytes: number): void {
    this.#outstanding = Math.max(0, this.#outstanding - bytes)
  }

  undelivered(): number {
    return this.#outstanding
  }

  retryAt(): undefined {
    return undefined
  }

  settled(): boolean {
    return this.#outstanding === 0
  }

  get unwrittenBytes(): number {
    return this.#outstanding
  }
}
