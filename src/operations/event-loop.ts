import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'

/** How often the delay is sampled, in milliseconds. */
const RESOLUTION = 20

/** Measures how late the event loop of this thread is. */
export class EventLoopDelay {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION })

  constructor() {
    this.#histogram.enable()
  }

  /** The longest delay since the last call, in milliseconds. */
  take(): number {
    // Each sample is the time between two, which is the resolution where there is no delay.
    const longest = Math.max(0, this.#histogram.max / 1e6 - RESOLUTION)
    this.#histogram.reset()
    return longest
  }

  stop(): void {
    this.#histogram.disable()
  }
}
