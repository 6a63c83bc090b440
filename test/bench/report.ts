import { type Goal, type Verdict, valuesOf } from './goals.ts'
import { METRICS, type Metric, type Sample, type Samples } from './metrics.ts'
import { ratiosOf, type Spread, spreadOf } from './statistics.ts'
import type { Rows } from './table.ts'

/** One contender's measurements under one workload. */
export interface Entry {
  readonly title: string
  readonly samples: readonly Sample[]
}

/**
 * The measurements under one workload: medians with their spreads, and the first metric's ratio to the first contender.
 *
 * @param reference Whose measurements are 1.
 */
export function workloadRows(entries: readonly Entry[], reference: string): Rows {
  const metrics = metricsOf(entries)
  const [main] = metrics
  const base = entries.find(({ title }) => title === reference)
  const compared = main !== undefined && base !== undefined
  return [
    ['', ...metrics.map((metric) => METRICS[metric].title), ...(compared ? ['ratio'] : [])],
    ...entries.map(({ title, samples }) => {
      if (failureOf(samples) !== undefined) return [title, 'failed']
      return [
        title,
        ...metrics.map((metric) => spreadText(valuesOf(samples, metric), METRICS[metric].digits)),
        ...(compared ? [ratioText(valuesOf(samples, main), valuesOf(base.samples, main))] : []),
      ]
    }),
  ]
}

/** Each metric of each contender as a ratio to another checkout's in the same round. */
export function ratioRows(samples: Samples, older: Samples): Rows {
  const names = Object.keys(METRICS) as Metric[]
  const rows = Object.entries(older).flatMap(([workload, contenders = {}]) =>
    Object.entries(contenders).map(([contender, before = []]) => {
      const now = samples[workload]?.[contender] ?? []
      return [
        `${workload}, ${contender}`,
        ...names.map((name) => ratioText(valuesOf(now, name), valuesOf(before, name))),
      ]
    }),
  )
  const measured = names.filter((_name, at) => rows.some((row) => row[at + 1] !== ''))
  const columns = [0, ...measured.map((name) => names.indexOf(name) + 1)]
  return [['', ...names], ...rows].map((row) => columns.map((at) => row[at] ?? ''))
}

/** The goals, what was measured and whether they are met. */
export function goalRows(verdicts: readonly Verdict[]): Rows {
  return [
    ['goal', 'wanted', 'measured', ''],
    ...verdicts.map(({ goal, value, passed }) => [
      goal.text,
      wanted(goal),
      value === undefined ? (passed === false ? 'failed' : 'not measured') : spreadOfGoal(goal, value),
      passed === undefined ? '' : passed ? 'pass' : 'FAIL',
    ]),
  ]
}

/** The first failure of several measurements. */
export function failureOf(samples: readonly Sample[]): string | undefined {
  for (const sample of samples) if ('failure' in sample) return sample.failure
  return undefined
}

function metricsOf(entries: readonly Entry[]): Metric[] {
  const names = Object.keys(METRICS) as Metric[]
  return names.filter((metric) => entries.some(({ samples }) => valuesOf(samples, metric).length > 0))
}

function wanted({ atLeast, atMost, against }: Goal): string {
  const unit = against === undefined ? '' : ' ×'
  return atLeast === undefined ? `at most ${atMost}${unit}` : `at least ${atLeast}${unit}`
}

function spreadOfGoal({ against, metric }: Goal, value: Spread): string {
  return against === undefined ? format(value, METRICS[metric].digits) : format(value, 2)
}

function spreadText(values: readonly number[], digits: number): string {
  return values.length === 0 ? '' : format(spreadOf(values), digits)
}

function ratioText(values: readonly number[], references: readonly number[]): string {
  return values.length !== references.length || values.length === 0
    ? ''
    : format(spreadOf(ratiosOf(values, references)), 2)
}

function format({ median, min, max }: Spread, most: number): string {
  const digits = median < 1000 ? most : 0
  const text = (value: number) =>
    value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  return min === max ? text(median) : `${text(median)} (${text(min)}–${text(max)})`
}
