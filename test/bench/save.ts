import { writeFile } from 'node:fs/promises'
import { renderChart } from './chart.ts'
import { CONTENDERS, type ContenderName } from './contenders.ts'
import { type Verdict, valuesOf } from './goals.ts'
import type { Machine } from './machine.ts'
import type { Sample } from './metrics.ts'
import { failureOf } from './report.ts'
import type { Results } from './rounds.ts'
import { ratiosOf, type Spread, spreadOf } from './statistics.ts'
import type { Effort } from './workloads.ts'

/** All there is to say about a run. */
export interface Run {
  readonly machine: Machine
  /** How many cores were busy between measurements. */
  readonly others: Spread
  readonly effort: Effort
  readonly results: Results
  readonly verdicts: readonly Verdict[]
}

/**
 * Writes a run into files beside this one: `results.json`, and `results.svg` with the small answers a second.
 *
 * @param reference Whose bar in the chart is 1.
 * @param suffix Goes into the files' names, behind `results`.
 */
export async function save(run: Run, reference: ContenderName, suffix: string): Promise<void> {
  const path = (ending: string) => new URL(`results${suffix}.${ending}`, import.meta.url)
  await writeFile(path('json'), `${JSON.stringify(run, null, 2)}\n`)
  if (failureOf(run.results.hello?.[reference] ?? []) !== undefined) {
    throw new Error('There is no chart, since what the others are compared with failed.')
  }
  await writeFile(path('svg'), chartOf(run, reference))
}

function chartOf({ machine, results }: Run, reference: ContenderName): string {
  const hello = Object.entries(results.hello ?? {}) as [ContenderName, Sample[]][]
  const base = valuesOf(results.hello?.[reference] ?? [], 'rate')
  const bars = hello
    .filter(([, samples]) => failureOf(samples) === undefined)
    .map(([name, samples]) => {
      const value = spreadOf(ratiosOf(valuesOf(samples, 'rate'), base))
      const cpu = spreadOf(valuesOf(samples, 'cpu')).median
      const label = CONTENDERS[name].title
      const note = `${value.median.toFixed(2)} ×, ${cpu.toFixed(1)} µs CPU`
      return { label, value, note, highlighted: label.startsWith('mongrel2-fetch') }
    })
    .sort((a, b) => b.value.median - a.value.median)
  return renderChart(
    'Hono hello: requests per second',
    `${CONTENDERS[reference].title} is 1; CPU is the handler’s, per request. ` +
      `Node ${machine.node}, ${machine.cores} × ${machine.cpu}`,
    bars,
  )
}
