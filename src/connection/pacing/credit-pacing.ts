import { FLOW_CONTROL_WINDOW } from '../../wire/limits.ts'
import type { Pacing } from './pacing.ts'

/** Pacing by credits, where Mongrel2 runs with `download.flow_control`: it reports each byte that it has written. */
export class CreditPacing implements Pacing {
  readonly mode = 'credits'
  readonly strict = true
  readonly waitingLimit = FLOW_CONTROL_WINDOW
  unwrittenBytes: number

  /** @param unwrittenBytes Bytes that were published before and are not written yet. */
  constructor(unwrittenBytes = 0) {
    this.unwrittenBytes = unwrittenBytes
  }

  allowance(waiting: number): number {
    return Math.min(waiting, FLOW_CONTROL_WINDOW - this.unwrittenBytes)
  }

  published(bytes: number): void {
    this.unwrittenBytes += bytes
  }

  credited(bytes: number): void {
    this.unwrittenBytes = Math.max(0, this.unwrittenBytes - bytes)
  }

  undelivered(): number {
    return this.unwrittenBytes
  }

  retryAt(): undefined {
    return undefined
  }

  settled(): boolean {
    return this.unwrittenBytes === 0
  }
}
