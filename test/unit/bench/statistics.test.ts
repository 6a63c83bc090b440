import { describe, expect, it } from 'vitest'
import { percentile, ratiosOf, spreadOf } from '../../bench/statistics.ts'

describe('spreadOf', () => {
  it.each([
    { values: [3], median: 3, min: 3, max: 3 },
    { values: [10, 9, 100], median: 10, min: 9, max: 100 },
    { values: [4, 1, 2, 3], median: 2.5, min: 1, max: 4 },
  ])('of $values is $median, from $min to $max', ({ values, ...spread }) => {
    expect(spreadOf(values)).toEqual(spread)
  })

  it('leaves the values in their order', () => {
    const values = [2, 1, 3]
    spreadOf(values)
    expect(values).toEqual([2, 1, 3])
  })

  it('refuses no values', () => {
    expect(() => spreadOf([])).toThrow(RangeError)
  })
})

describe('percentile', () => {
  const hundred = Array.from({ length: 100 }, (_, n) => n + 1)

  it.each([
    [0.5, 50],
    [0.99, 99],
    [0.991, 100],
    [1, 100],
  ])('%f of 1 to 100 is %i', (share, expected) => {
    expect(percentile(hundred, share)).toBe(expected)
  })

  it('refuses no values', () => {
    expect(() => percentile([], 0.99)).toThrow(RangeError)
  })
})

describe('ratiosOf', () => {
  it('divides measurements of the same round', () => {
    expect(ratiosOf([10, 30], [5, 10])).toEqual([2, 3])
  })

  it('refuses rounds that only one of both has', () => {
    expect(() => ratiosOf([1, 2], [1])).toThrow(RangeError)
  })
})
