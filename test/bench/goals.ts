import type { ContenderName } from './contenders.ts'
import type { Metric, Sample, Samples } from './metrics.ts'
import { SERVED_NAMES } from './served.ts'
import { ratiosOf, type Spread, spreadOf } from './statistics.ts'
import { WORKLOADS, type WorkloadName } from './workloads.ts'

/** What a measurement must be, absolutely or in relation to another contender's. */
export interface Goal {
  readonly text: string
  readonly workload: WorkloadName
  readonly metric: Metric
  readonly contender: ContenderName
  /** Whose measurement is divided by. */
  readonly against?: ContenderName
  /** The measurement of theirs, if it is another. */
  readonly againstMetric?: Metric
  readonly atLeast?: number
  readonly atMost?: number
  /** The Nodes that it is for, by their first numbers; every one otherwise. */
  readonly nodes?: readonly number[]
}

/** What became of a goal. */
export interface Verdict {
  readonly goal: Goal
  /** The ratio, or the measurement where the goal is absolute; none if it was not measured. */
  readonly value: Spread | undefined
  /** Undefined if it was not measured. */
  readonly passed: boolean | undefined
  /** Why a measurement failed; then the goal is missed. */
  readonly failure?: string
}

const PROXY = 'Mongrel2 Proxy'
const NODE_SERVER = '@hono/node-server'
const BEHIND_NGINX = `nginx → ${NODE_SERVER}`

/** The goals that a run on all contenders can tell of; those of parsing are in micro.ts. */
export const GOALS: readonly Goal[] = [
  ...(
    [
      ['hello', 1.0, 0.45],
      ['echo', 1.3, 0.4],
      ['headers', 1.3, 0.4],
    ] as const
  ).flatMap(([workload, rate, cpu]) => [rateGoal(workload, 'zmtp', rate), cpuGoal(workload, 'zmtp', cpu)]),
  {
    text: `Requests a second, Hono hello, against ${NODE_SERVER} with nothing in front`,
    workload: 'hello',
    metric: 'rate',
    contender: 'zmtp',
    against: 'node-server',
    atLeast: 1.0,
  },
  {
    text: 'Requests a second, Hono hello, against the C handler',
    workload: 'hello',
    metric: 'rate',
    contender: 'zmtp',
    against: 'c',
    atLeast: 0.95,
  },
  cpuGoal('hello', 'zeromq', 0.75, 'on zeromq.js'),
  { ...plainGoal(0.9), nodes: [20] },
  { ...plainGoal(0.5), nodes: [24, 26] },
  {
    text: 'µs of CPU a request, Hono hello with a plain Response',
    workload: 'hello',
    metric: 'cpu',
    contender: 'zmtp-plain',
    atMost: 12,
    nodes: [24, 26],
  },
  {
    text: `99th percentile of latency at half of the peak, against ${BEHIND_NGINX}`,
    workload: 'latency',
    metric: 'p99',
    contender: 'zmtp',
    against: 'nginx',
    atMost: 1.0,
  },
  ...(
    [
      ['download', 'A response of 100 MiB by flow control', 'credits', 0.9],
      ['download', 'A response of 100 MiB by the control port', 'control-port', 0.9],
      ['upload', 'An upload of 100 MiB stored in a file', 'upload-file', 0.9],
      ['upload', 'An upload of 100 MiB as it arrives', 'upload-stream', 0.75],
      ['upload', 'An upload of 100 MiB as it arrives, in parts of 128 KiB', 'upload-stream-wide', 0.9],
    ] as const
  ).map(
    ([workload, what, contender, atLeast]): Goal => ({
      text: `${what}, against ${PROXY}`,
      workload,
      metric: 'throughput',
      contender,
      against: 'proxy',
      atLeast,
    }),
  ),
  {
    text: 'CPU for a message of 100 bytes to 5,000 WebSockets, against ws',
    workload: 'fanout',
    metric: 'messageCpu',
    contender: 'topic',
    against: 'ws',
    atMost: 0.2,
  },
  {
    text: 'MiB that 10,000 idle connections add to the handler’s process',
    workload: 'idle',
    metric: 'memory',
    contender: 'zmtp',
    atMost: 20,
  },
  {
    text: `CPU a request of the dispatcher, Hono hello, against ${NODE_SERVER}`,
    workload: 'hello',
    metric: 'dispatcherCpu',
    contender: 'workers-1',
    atMost: 0.3,
    against: 'node-server',
    againstMetric: 'cpu',
  },
  {
    text: 'Requests a second of 2 workers with a busy handler, against 1 worker',
    workload: 'busy',
    metric: 'rate',
    contender: 'workers-2',
    against: 'workers-1',
    atLeast: 1.8,
  },
  ...(
    [
      ['metrics', 'zmtp', 1.03],
      ['access-log', 'zmtp', 1.1],
      ['workers-1-metrics', 'workers-1', 1.03],
      ['workers-1-access-log', 'workers-1', 1.1],
    ] as const
  ).map(
    ([contender, against, atMost]): Goal => ({
      text: `CPU a request, Hono hello, ${contender} against ${against}`,
      workload: 'hello',
      metric: 'cpu',
      contender,
      against,
      atMost,
    }),
  ),
  ...(['uwsgi', 'fastcgi'] as const).flatMap((contender): Goal[] => [
    rateGoal('hello', contender, 1.0, `by ${contender} behind nginx`),
    {
      text: `CPU a request, Hono hello by ${contender} behind nginx, against ${BEHIND_NGINX}`,
      workload: 'hello',
      metric: 'cpu',
      contender,
      against: 'nginx',
      atMost: 0.6,
    },
  ]),
  ...SERVED_NAMES.flatMap((workload) => [rateGoal(workload, 'zmtp', 1.0), cpuGoal(workload, 'zmtp', 1.0)]),
  ...(['json100k', 'form100k'] as const).flatMap((workload) => [
    rateGoal(workload, 'zmtp-whole', 1.0, 'within its message'),
    cpuGoal(workload, 'zmtp-whole', 1.0, 'within its message'),
  ]),
]

/** @param how Goes behind the workload's title. */
function rateGoal(workload: WorkloadName, contender: ContenderName, atLeast: number, how = ''): Goal {
  const text = `Requests a second, ${titleOf(workload, how)}, against ${BEHIND_NGINX}`
  return { text, workload, metric: 'rate', contender, against: 'nginx', atLeast }
}

/** @param how Goes behind the workload's title. */
function cpuGoal(workload: WorkloadName, contender: ContenderName, atMost: number, how = ''): Goal {
  const text = `CPU a request, ${titleOf(workload, how)}, against ${NODE_SERVER}`
  return { text, workload, metric: 'cpu', contender, against: 'node-server', atMost }
}

function plainGoal(atMost: number): Goal {
  return { ...cpuGoal('hello', 'zmtp-plain', atMost, 'with plain Responses of both'), against: 'node-server-plain' }
}

function titleOf(workload: WorkloadName, how: string): string {
  const { title } = WORKLOADS[workload]
  return how === '' ? title : `${title} ${how}`
}

/**
 * Compares measurements with the goals. A ratio is taken in each round, and the median of all rounds is what counts.
 *
 * @param node The first number of the Node that ran the servers.
 */
export function judge(goals: readonly Goal[], samples: Samples, node: number): Verdict[] {
  return goals.filter((goal) => goal.nodes?.includes(node) ?? true).map((goal) => verdictOn(goal, samples))
}

function verdictOn(goal: Goal, samples: Samples): Verdict {
  const own = samples[goal.workload]?.[goal.contender] ?? []
  const failed = own.find((sample) => 'failure' in sample)
  if (failed !== undefined) return { goal, value: undefined, passed: false, failure: failed.failure }
  const values = valuesOf(own, goal.metric)
  const against =
    goal.against && valuesOf(samples[goal.workload]?.[goal.against] ?? [], goal.againstMetric ?? goal.metric)
  if (values.length === 0 || (against !== undefined && against.length !== values.length)) {
    return { goal, value: undefined, passed: undefined }
  }
  const value = spreadOf(against === undefined ? values : ratiosOf(values, against))
  const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = goal
  return { goal, value, passed: value.median >= atLeast && value.median <= atMost }
}

/** One metric of those measurements that succeeded. */
export function valuesOf(samples: readonly Sample[], metric: Metric): number[] {
  return samples.flatMap((sample) => ('measures' in sample ? (sample.measures[metric] ?? []) : []))
}
