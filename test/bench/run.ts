// npm run bench [-- --quick] [--only NAME]... [--workload NAME]... [--node VERSION] [--rounds N] [--markdown]
//
// Compares ways to answer HTTP requests, contender by contender and round by round, prints tables and whether the goals are met.
// A complete run also writes results.json and results.svg, with --node results-nodeVERSION.json and .svg.
//
//   --quick          under a minute: a short round of the small workloads; writes nothing
//   --rounds N       instead of 5
//   --only NAME      this contender, and others that are named so; writes nothing
//   --workload NAME  this workload, and others that are named so; writes nothing
//   --node VERSION   the servers run on this version of Node
//   --markdown       prints Markdown
//   --against DIR    measures our contenders of another built checkout, too, and prints ratios; writes nothing
//   --default-malloc leaves the servers' memory to the C library's own settings; writes nothing
//
// It ends with 1 if a measurement failed. A missed goal is no failure.

import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { showProgress } from '../../examples/progress.mjs'
import { CONTENDERS, type Contender, type ContenderName, type Place } from './contenders.ts'
import { GOALS, judge, valuesOf } from './goals.ts'
import { describeMachine, type Machine } from './machine.ts'
import type { Sample } from './metrics.ts'
import { chosen, createDirectory, keepMemory, programOf } from './preparation.ts'
import { failureOf, goalRows, ratioRows, workloadRows } from './report.ts'
import { type Bench, countMeasurements, measure, type Older, type Results, workloadsOf } from './rounds.ts'
import { save } from './save.ts'
import { type Spread, spreadOf } from './statistics.ts'
import { renderMarkdown, renderText } from './table.ts'
import { type Effort, GROUPS, QUICK_GROUP, WORKLOADS, type WorkloadName } from './workloads.ts'

const REFERENCE = 'nginx'
const ROUNDS = 5
/** Cores that others may keep busy. */
const MOST_OF_OTHERS = 0.2
/** Seconds that the small workloads of a quick run may take, beside starting and stopping. */
const QUICK_SECONDS = 24

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    workload: { type: 'string', multiple: true },
    node: { type: 'string' },
    rounds: { type: 'string', default: String(ROUNDS) },
    against: { type: 'string' },
    markdown: { type: 'boolean', default: false },
    'default-malloc': { type: 'boolean', default: false },
  },
})
const COMPLETE: Omit<Effort, 'rate'> = { warmUp: 1, seconds: 3, rounds: roundsOf(flags.rounds) }
if (!flags['default-malloc']) keepMemory()
try {
  await main({ directory: await createDirectory(), node: programOf(flags.node) })
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

async function main(place: Place): Promise<void> {
  const machine = describeMachine(place.node)
  console.error(`Node ${machine.node} on ${machine.cores} × ${machine.cpu}`)
  const workloads = chosen('workload', WORKLOADS, flags.workload)
  const names = await available(chosen('contender', CONTENDERS, flags.only), place)
  if (names.length === 0) throw new Error('No contender is left.')
  const results: Results = {}
  const older: Older | undefined =
    flags.against === undefined ? undefined : { checkout: resolve(flags.against), results: {} }
  const groups = (flags.quick ? [QUICK_GROUP] : GROUPS).map((group) => group.filter((name) => workloads.includes(name)))
  const busy = await measureAll(names, groups, { place, results, older })
  const render = flags.markdown ? renderMarkdown : renderText
  for (const workload of Object.keys(results) as WorkloadName[]) {
    const entries = entriesOf(results, workload)
    console.log(`\n${titleOf(workload, results)}\n\n${render(workloadRows(entries, CONTENDERS[REFERENCE].title))}`)
  }
  if (older !== undefined) {
    console.log(`\nThis checkout against ${older.checkout}\n\n${render(ratioRows(results, older.results))}`)
  }
  // Each was told when it happened.
  if (hasFailures(results)) process.exitCode = 1
  const verdicts = judge(GOALS, results, Number(machine.node.split('.')[0]))
  console.log(`\nGoals\n\n${render(goalRows(verdicts))}`)
  const others = spreadOf(busy)
  console.log(`\n${othersText(others, machine)}`)
  if (
    !flags.quick &&
    flags.only === undefined &&
    flags.workload === undefined &&
    older === undefined &&
    !flags['default-malloc']
  ) {
    const effort = { ...COMPLETE, rate: commonRate(results) }
    const suffix = flags.node === undefined ? '' : `-node${flags.node}`
    await save({ machine, others, effort, results, verdicts }, REFERENCE, suffix)
  }
}

/** Measures all groups of workloads, and shows how far that is; how many cores were busy before each turn. */
async function measureAll(
  names: readonly ContenderName[],
  groups: readonly (readonly WorkloadName[])[],
  { place, results, older }: Pick<Bench, 'place' | 'results' | 'older'>,
): Promise<number[]> {
  const rounds = flags.quick ? 1 : COMPLETE.rounds
  const counts = groups.map((group) => countMeasurements(names, group, rounds, older !== undefined))
  const all = counts.reduce((sum, count) => sum + count, 0)
  const progress = showProgress('Measuring')
  let done = 0
  const bench: Bench = {
    place,
    results,
    older,
    begins: (title) => progress.at(done / all, `${done} of ${all} measurements, ${title}`),
    measured: () => done++,
  }
  const busy: number[] = []
  for (const [n, group] of groups.entries()) {
    const effort = effortFor(names, group, results)
    if (effort.rate > 0 || !group.includes('latency')) busy.push(...(await measure(names, group, effort, bench)))
    else {
      done += counts[n] ?? 0
      console.error(`Without latency: its rate is half of the peak of ${REFERENCE}, which was not measured`)
    }
  }
  progress.end()
  return busy
}

function roundsOf(text: string): number {
  if (/^[1-9]\d?$/.test(text)) return Number(text)
  console.error(`--rounds: expected a number from 1 to 99, got '${text}'.`)
  return process.exit(1)
}

/** Leaves out, with a line, who cannot be had here. */
async function available(names: readonly ContenderName[], place: Place): Promise<ContenderName[]> {
  const found: ContenderName[] = []
  for (const name of names) {
    const contender: Contender = CONTENDERS[name]
    try {
      await contender.prepare?.(place)
      found.push(name)
    } catch (error) {
      console.error(`Without ${name}: ${error instanceof Error ? error.message : error}`)
    }
  }
  return found
}

function effortFor(names: readonly ContenderName[], group: readonly WorkloadName[], results: Results): Effort {
  if (!flags.quick) return { ...COMPLETE, rate: commonRate(results) }
  const measurements = names.flatMap((name) => workloadsOf(name, group)).length
  const seconds = Math.min(2, QUICK_SECONDS / measurements)
  return { warmUp: seconds / 3, seconds: (seconds * 2) / 3, rounds: 1, rate: 0 }
}

function othersText({ median, max }: Spread, { cores }: Machine): string {
  const busy = `Between measurements others kept ${median.toFixed(2)} of ${cores} cores busy, at most ${max.toFixed(2)}`
  return median > MOST_OF_OTHERS ? `${busy}: throughput and latency cannot be believed.` : `${busy}.`
}

function titleOf(workload: WorkloadName, results: Results): string {
  const { title } = WORKLOADS[workload]
  return workload === 'latency' ? `${title}: ${commonRate(results).toLocaleString('en')} requests/s` : title
}

/** Half of the peak of what the others are compared with; 0 if that is not known. */
function commonRate(results: Results): number {
  const peaks = valuesOf(results.hello?.[REFERENCE] ?? [], 'rate')
  return peaks.length === 0 ? 0 : Math.round(spreadOf(peaks).median / 2)
}

function hasFailures(results: Results): boolean {
  return Object.values(results)
    .flatMap((contenders) => Object.values(contenders))
    .some((samples) => failureOf(samples) !== undefined)
}

function entriesOf(results: Results, workload: WorkloadName) {
  return (Object.entries(results[workload] ?? {}) as [ContenderName, Sample[]][]).map(([name, samples]) => ({
    title: CONTENDERS[name].title,
    samples,
  }))
}
