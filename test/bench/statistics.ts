/** The middle of several measurements, and how far they lie apart. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** @throws RangeError for no values. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError('expected at least one value')
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length / 2
  const middle = sorted.slice(Math.ceil(half) - 1, Math.floor(half) + 1)
  return {
    median: middle.reduce((sum, value) => sum + value, 0) / middle.length,
    min: Math.min(...sorted),
    max: Math.max(...sorted),
  }
}

/**
 * The value that a share of all is at or below (nearest rank).
 *
 * @param sorted Ascending.
 * @param share From above 0 to 1.
 */
export function percentile(sorted: readonly number[], share: number): number {
  const value = sorted[Math.ceil(sorted.length * share) - 1]
  if (value === undefined) throw new RangeError(`expected at least one value and a share up to 1, got ${share}`)
  return value
}

/** Ratios of measurements taken in the same round: what changed on the machine from round to round is not in them. */
export function ratiosOf(values: readonly number[], references: readonly number[]): number[] {
  if (values.length !== references.length) throw new RangeError('expected as many values as references')
  return values.map((value, round) => value / (references[round] as number))
}
