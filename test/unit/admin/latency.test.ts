import { describe, expect, it } from 'vitest'
import { latencyOf } from '../../../src/admin/latency.ts'
import { DURATION_BOUNDS } from '../../../src/operations/request-totals.ts'

/** Counts with so many requests in a bucket: 0 is up to 1 ms, 3 from 5 to 10 ms, the last over 60 s. */
const counts = (...given: [bucket: number, count: number][]) => {
  const all = [...DURATION_BOUNDS, 0].map(() => 0)
  for (const [bucket, count] of given) all[bucket] = count
  return all
}

describe('Percentiles', () => {
  it.each([
    ['of one request are the middle of its bucket', counts([3, 1]), [7.5, 7.5, 7.5]],
    ['spread evenly over a bucket', counts([0, 100]), [0.495, 0.945, 0.985]],
    ['of many quick ones and few slow ones', counts([0, 96], [3, 4]), [0.516, 0.984, 8.13]],
    ['beyond the last bound are that bound', counts([15, 3]), [60_000, 60_000, 60_000]],
  ])('%s', (_what, byDuration, expected) => {
    const { p50, p95, p99 } = latencyOf(byDuration) ?? {}
    expect([p50, p95, p99]).toEqual(expected)
  })

  it('of no requests are not known', () => {
    expect(latencyOf(counts())).toBeUndefined()
  })
})
