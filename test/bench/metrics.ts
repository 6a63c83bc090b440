/** What is measured, with its unit. */
export const METRICS = {
  rate: { title: 'requests/s', digits: 0 },
  throughput: { title: 'MiB/s', digits: 0 },
  p99: { title: 'p99, ms', digits: 2 },
  p50: { title: 'p50, ms', digits: 2 },
  memory: { title: 'memory added, MiB', digits: 1 },
  messageCpu: { title: 'server CPU, ms/message', digits: 1 },
  messageFrontCpu: { title: 'front CPU, ms/message', digits: 1 },
  heard: { title: 'heard by all after, ms', digits: 0 },
  cpu: { title: 'handler CPU, µs/request', digits: 1 },
  dispatcherCpu: { title: 'of that the dispatcher', digits: 1 },
  frontCpu: { title: 'front CPU, µs/request', digits: 1 },
} as const

export type Metric = keyof typeof METRICS

/** What one measurement brought. */
export type Measures = Partial<Record<Metric, number>>

/** One measurement of a contender under a workload, or why there is none. */
export type Sample = { readonly measures: Measures } | { readonly failure: string }

/** All measurements of a contender under a workload, one a round. */
export type Samples = Partial<Record<string, Partial<Record<string, readonly Sample[]>>>>
