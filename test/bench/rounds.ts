import { busyCores } from './busy-cores.ts'
import { CONTENDERS, type ContenderName, type Place } from './contenders.ts'
import type { Sample } from './metrics.ts'
import type { Running } from './running.ts'
import { type Effort, WORKLOADS, type Workload, type WorkloadName } from './workloads.ts'

/** Milliseconds for which the machine is watched before each turn. */
const WATCH_TIME = 200

/** Another checkout of this repository, built, that is compared with this one. */
export interface Older {
  readonly checkout: string
  readonly results: Results
}

/** All measurements: by workload, by contender, one a round. */
export type Results = Partial<Record<WorkloadName, Partial<Record<ContenderName, Sample[]>>>>

/** Where contenders are measured. */
export interface Bench {
  readonly place: Place
  /** Where the measurements go. */
  readonly results: Results
  /** Another checkout, and where the measurements of its servers go: each of our contenders is measured there, too, right after. */
  readonly older: Older | undefined
  /** Called before each measurement. */
  begins(title: string): void
  /** Called after each measurement, also one that failed. */
  measured(): void
}

/**
 * Measures contenders in turn, round by round.
 *
 * @param group The workloads; a contender takes those of them that are its own.
 * @returns How many cores were busy before each turn, when nothing of this was at work.
 */
export async function measure(
  names: readonly ContenderName[],
  group: readonly WorkloadName[],
  effort: Effort,
  bench: Bench,
): Promise<number[]> {
  const { place, results, older } = bench
  const busy: number[] = []
  for (let round = 1; round <= effort.rounds; round++) {
    // Turned round each time: whoever comes later may find the machine in another state.
    for (const name of round % 2 === 0 ? names.toReversed() : names) {
      const workloads = workloadsOf(name, group)
      if (workloads.length === 0) continue
      busy.push(await busyCores(WATCH_TIME))
      const title = `${round}/${effort.rounds} ${name}`
      await turn(name, workloads, effort, place, recorder(results, name, title, bench))
      if (older === undefined || !isOurs(name)) continue
      const record = recorder(older.results, name, `${title} of ${older.checkout}`, bench)
      await turn(name, workloads, effort, { ...place, checkout: older.checkout }, record)
    }
  }
  return busy
}

/** Whether a contender is this package, of which another checkout may have another version. */
export function isOurs(name: ContenderName): boolean {
  return CONTENDERS[name].title.startsWith('mongrel2-fetch')
}

/** How many measurements `measure` makes. */
export function countMeasurements(
  names: readonly ContenderName[],
  group: readonly WorkloadName[],
  rounds: number,
  twice: boolean,
): number {
  const ofRound = names.map((name) => workloadsOf(name, group).length * (twice && isOurs(name) ? 2 : 1))
  return rounds * ofRound.reduce((sum, count) => sum + count, 0)
}

interface Recorder {
  begin(workload: WorkloadName): void
  record(workload: WorkloadName, sample: Sample): void
}

function recorder(results: Results, name: ContenderName, title: string, bench: Bench): Recorder {
  return {
    begin: (workload) => bench.begins(`${title} ${workload}`),
    record(workload, sample) {
      results[workload] ??= {}
      results[workload][name] ??= []
      results[workload][name].push(sample)
      console.error(`${title} ${workload}: ${describe(sample)}`)
      bench.measured()
    },
  }
}

/** Those workloads of a group that a contender takes part in. */
export function workloadsOf(name: ContenderName, group: readonly WorkloadName[]): WorkloadName[] {
  return group.filter((workload) => CONTENDERS[name].workloads.some((own) => own === workload))
}

/** A contender's turn: started anew, so that rounds are independent, and checked before anything is measured. */
async function turn(
  name: ContenderName,
  workloads: readonly WorkloadName[],
  effort: Effort,
  place: Place,
  { begin, record }: Recorder,
): Promise<void> {
  let left = workloads
  try {
    await using running = await CONTENDERS[name].start(place)
    for (const workload of workloads) {
      begin(workload)
      record(workload, await sampleOf(WORKLOADS[workload], running, effort, place))
      left = left.slice(1)
    }
  } catch (error) {
    for (const workload of left) record(workload, failed(error))
  }
}

async function sampleOf(workload: Workload, running: Running, effort: Effort, place: Place): Promise<Sample> {
  try {
    await workload.check(running)
    return { measures: await workload.measure(running, effort, place) }
  } catch (error) {
    return failed(error)
  }
}

function failed(error: unknown): Sample {
  return { failure: error instanceof Error ? error.message : String(error) }
}

function describe(sample: Sample): string {
  if ('failure' in sample) return sample.failure
  return Object.entries(sample.measures)
    .map(([metric, value]) => `${metric} ${value.toFixed(2)}`)
    .join(', ')
}
