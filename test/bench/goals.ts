import type { ContenderName } from './contenders.ts'
import type { Metric, Sample, Samples } from './metrics.ts'
import { SERVED, SERVED_NAMES, type ServedName } from './served.ts'
import { ratiosOf, type Spread, spreadOf } from './statistics.ts'
import type { WorkloadName } from './workloads.ts'

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
  /** The Node that it is for, by its first number; every one otherwise. */
  readonly node?: number
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

/** The goals that a run on all contenders can tell of; those of parsing are in micro.ts. */
export const GOALS: readonly Goal[] = [
  {
    text: '1. Throughput, Hono hello, against nginx → @hono/node-server',
    workload: 'hello',
    metric: 'rate',
    contender: 'zmtp',
    against: 'nginx',
    atLeast: 1.6,
  },
  {
    text: '1. Throughput, Hono hello, against @hono/node-server with nothing in front',
    workload: 'hello',
    metric: 'rate',
    contender: 'zmtp',
    against: 'node-server',
    atLeast: 1.0,
  },
  {
    text: '1. Throughput, Hono hello, against the C handler',
    workload: 'hello',
    metric: 'rate',
    contender: 'zmtp',
    against: 'c',
    atLeast: 0.85,
  },
  {
    text: '2. CPU a request, Hono hello, against @hono/node-server',
    workload: 'hello',
    metric: 'cpu',
    contender: 'zmtp',
    against: 'node-server',
    atMost: 0.4,
  },
  {
    text: '2. CPU a request, JSON POST, against @hono/node-server',
    workload: 'echo',
    metric: 'cpu',
    contender: 'zmtp',
    against: 'node-server',
    atMost: 0.6,
  },
  {
    text: '2. CPU a request, 20 response headers, against @hono/node-server',
    workload: 'headers',
    metric: 'cpu',
    contender: 'zmtp',
    against: 'node-server',
    atMost: 0.6,
  },
  {
    text: '2. CPU a request, Hono hello on zeromq.js, against @hono/node-server',
    workload: 'hello',
    metric: 'cpu',
    contender: 'zeromq',
    against: 'node-server',
    atMost: 0.75,
  },
  {
    text: '2. CPU a request, Hono hello, both without override, Node 20',
    workload: 'hello',
    metric: 'cpu',
    contender: 'zmtp-plain',
    against: 'node-server-plain',
    atMost: 0.9,
    node: 20,
  },
  {
    text: '2. CPU a request, Hono hello, both without override, Node 24',
    workload: 'hello',
    metric: 'cpu',
    contender: 'zmtp-plain',
    against: 'node-server-plain',
    atMost: 0.6,
    node: 24,
  },
  {
    text: '3. p99 latency at half of the peak, against nginx → @hono/node-server',
    workload: 'latency',
    metric: 'p99',
    contender: 'zmtp',
    against: 'nginx',
    atMost: 1.0,
  },
  {
    text: '4. Streamed response, paced by flow control, against Mongrel2 Proxy',
    workload: 'download',
    metric: 'throughput',
    contender: 'credits',
    against: 'proxy',
    atLeast: 0.9,
  },
  {
    text: '4. Streamed response, paced by the control port, against Mongrel2 Proxy',
    workload: 'download',
    metric: 'throughput',
    contender: 'control-port',
    against: 'proxy',
    atLeast: 0.9,
  },
  {
    text: '4. Upload stored in a file, against Mongrel2 Proxy',
    workload: 'upload',
    metric: 'throughput',
    contender: 'upload-file',
    against: 'proxy',
    atLeast: 0.9,
  },
  {
    text: '4. Upload by upload.stream, against Mongrel2 Proxy',
    workload: 'upload',
    metric: 'throughput',
    contender: 'upload-stream',
    against: 'proxy',
    atLeast: 0.9,
  },
  {
    text: '4. Upload by upload.stream in parts of 128 KiB, against Mongrel2 Proxy',
    workload: 'upload',
    metric: 'throughput',
    contender: 'upload-stream-wide',
    against: 'proxy',
    atLeast: 0.9,
  },
  {
    text: 'CPU for a message of 100 bytes to 5,000 WebSockets, against ws',
    workload: 'fanout',
    metric: 'messageCpu',
    contender: 'topic',
    against: 'ws',
    atMost: 0.2,
  },
  {
    text: '6. MiB that 10,000 idle connections add to the handler’s process',
    workload: 'idle',
    metric: 'memory',
    contender: 'zmtp',
    atMost: 20,
  },
  {
    text: 'CPU a request of the dispatcher, Hono hello, against @hono/node-server',
    workload: 'hello',
    metric: 'dispatcherCpu',
    contender: 'workers-1',
    against: 'node-server',
    againstMetric: 'cpu',
    atMost: 0.4,
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
    {
      text: `CPU a request, Hono hello by ${contender} behind nginx, against nginx → @hono/node-server`,
      workload: 'hello',
      metric: 'cpu',
      contender,
      against: 'nginx',
      atMost: 0.6,
    },
    {
      text: `Throughput, Hono hello by ${contender} behind nginx, against nginx → @hono/node-server`,
      workload: 'hello',
      metric: 'rate',
      contender,
      against: 'nginx',
      atLeast: 1.0,
    },
  ]),
  ...SERVED_NAMES.flatMap((workload) => servedGoals(workload, 'zmtp', '')),
  ...(['json100k', 'form100k'] as const).flatMap((workload) =>
    servedGoals(workload, 'zmtp-whole', ' within its message'),
  ),
  {
    text: 'Throughput of 2 workers with a busy handler, against 1 worker',
    workload: 'busy',
    metric: 'rate',
    contender: 'workers-2',
    against: 'workers-1',
    atLeast: 1.8,
  },
]

/** @param how Goes behind the workload's title. */
function servedGoals(workload: ServedName, contender: ContenderName, how: string): Goal[] {
  const { title } = SERVED[workload]
  return [
    {
      text: `Throughput, ${title}${how}, against nginx → @hono/node-server`,
      workload,
      metric: 'rate',
      contender,
      against: 'nginx',
      atLeast: 1.0,
    },
    {
      text: `CPU a request, ${title}${how}, against @hono/node-server`,
      workload,
      metric: 'cpu',
      contender,
      against: 'node-server',
      atMost: 1.0,
    },
  ]
}

/**
 * Compares measurements with the goals. A ratio is taken in each round, and the median of all rounds is what counts.
 *
 * @param node The first number of the Node that ran the servers.
 */
export function judge(goals: readonly Goal[], samples: Samples, node: number): Verdict[] {
  return goals.filter((goal) => goal.node === undefined || goal.node === node).map((goal) => verdictOn(goal, samples))
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
