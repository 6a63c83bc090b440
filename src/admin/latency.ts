import { DURATION_BOUNDS } from '../operations/request-totals.ts'

/** Times from a message to the end of its response, in milliseconds: of 50, 95 and 99 percent of the requests it was at most so long. */
export interface Latency {
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/** Estimates percentiles from counts by `DURATION_BOUNDS`, as if requests were evenly spread between two bounds; undefined without requests. */
export function latencyOf(byDuration: readonly number[]): Latency | undefined {
  const total = byDuration.reduce((sum, count) => sum + count, 0)
  if (total === 0) return undefined
  const at = (quantile: number) => percentile(byDuration, Math.ceil(quantile * total))
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

/** @param rank The number of the request in the order of durations, from 1. */
function percentile(byDuration: readonly number[], rank: number): number {
  let before = 0
  for (const [bucket, count] of byDuration.entries()) {
    const lower = DURATION_BOUNDS[bucket - 1] ?? 0
    // Longer ones than the last bound count as that.
    const upper = DURATION_BOUNDS[bucket] ?? lower
    if (before + count >= rank) {
      const seconds = lower + ((upper - lower) * (rank - before - 0.5)) / count
      return Number((1000 * seconds).toPrecision(3))
    }
    before += count
  }
  return 0
}
