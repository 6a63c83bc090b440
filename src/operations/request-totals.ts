import type { RequestEntry } from './request-entry.ts'

/** What is counted of a request. */
export type CountedRequest = Pick<RequestEntry, 'status' | 'aborted' | 'bytes' | 'received' | 'duration'>

/** The upper bounds of the histogram of durations, in seconds, but for the last, which has none. */
export const DURATION_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const

/** Status classes; `none` are requests without a status: the client left before, or another process answered. */
export const STATUS_CLASSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const

/** Counts of ended requests since the start. */
export interface RequestCounts {
  /** By `STATUS_CLASSES`. */
  readonly byClass: readonly number[]
  /** By `DURATION_BOUNDS`, and those above the last. */
  readonly byDuration: readonly number[]
  readonly aborted: number
  /** Bytes of responses. */
  readonly bytes: number
  /** Bytes of bodies of requests. */
  readonly received: number
  /** Seconds. */
  readonly duration: number
}

/** Counts ended requests. */
export class RequestTotals implements RequestCounts {
  readonly byClass: number[] = STATUS_CLASSES.map(() => 0)
  readonly byDuration: number[] = [...DURATION_BOUNDS, 0].map(() => 0)
  aborted = 0
  bytes = 0
  received = 0
  duration = 0

  get count(): number {
    return this.byClass.reduce((sum, count) => sum + count, 0)
  }

  add({ status = 0, aborted, bytes, received, duration }: CountedRequest): void {
    const statusClass = Math.floor(status / 100)
    this.byClass[statusClass] = (this.byClass[statusClass] ?? 0) + 1
    const seconds = duration / 1000
    let bucket = 0
    while (bucket < DURATION_BOUNDS.length && seconds > (DURATION_BOUNDS[bucket] as number)) bucket++
    this.byDuration[bucket] = (this.byDuration[bucket] ?? 0) + 1
    if (aborted) this.aborted++
    this.bytes += bytes
    this.received += received
    this.duration += seconds
  }
}
