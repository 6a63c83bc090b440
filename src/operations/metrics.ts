import { ownVersion, runtimeName } from '../runtime/process/versions.ts'
import { DURATION_BOUNDS, type RequestTotals, STATUS_CLASSES } from './request-totals.ts'
import type { ServerState } from './server-state.ts'

type Labels = Readonly<Record<string, string | number>>
type Sample = readonly [value: number, labels?: Labels, suffix?: string]

/** The kinds of metrics that we have. */
type Kind = 'counter' | 'gauge' | 'histogram'

/**
 * Renders metrics as text for Prometheus: in its own format, version 0.0.4, or as OpenMetrics 1.0. They differ in the names of counters and in
 * the end.
 */
export function renderMetrics(totals: RequestTotals, state: ServerState, openMetrics: boolean): string {
  const lines: string[] = []
  const metric = (name: string, kind: Kind, help: string, ...samples: Sample[]) => {
    if (samples.length === 0) return
    const full = `mongrel2_fetch_${name}`
    const sampled = kind === 'counter' ? `${full}_total` : full
    const family = openMetrics ? full : sampled
    lines.push(`# HELP ${family} ${help}`, `# TYPE ${family} ${kind}`)
    for (const [value, labels = {}, suffix = ''] of samples) {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(String(text))}"`)
      lines.push(`${sampled}${suffix}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`)
    }
  }
  const { pacing, links, workers = [], places = [] } = state

  metric('build_info', 'gauge', 'Versions.', [1, { version: ownVersion(), runtime: runtimeName() }])
  metric('requests', 'counter', 'Requests that ended, by the class of their status.', ...byClass(totals))
  metric('requests_aborted', 'counter', 'Requests whose response was given up before its end.', [totals.aborted])
  metric('request_duration_seconds', 'histogram', 'Time from a message to the end of its response.', ...byTime(totals))
  metric('response_bytes', 'counter', 'Bytes of responses, heads and framing included.', [totals.bytes])
  metric('request_body_bytes', 'counter', 'Bytes of the bodies of requests.', [totals.received])
  metric('messages', 'counter', 'Messages of Mongrel2.', [state.messages])
  metric('messages_malformed', 'counter', 'Malformed messages, which are dropped.', [state.malformed])
  metric('requests_rejected', 'counter', 'Refused requests, and messages of connections that close.', [state.rejected])
  metric('requests_in_flight', 'gauge', 'Handlers that have not returned.', [state.inFlight])
  metric('requests_queued', 'gauge', 'Requests that wait for a place.', [state.queued])
  const connections = Object.entries(pacing).map(([mode, count]): Sample => [count, { pacing: mode }])
  metric('connections', 'gauge', 'Connections with state, by what tells how much they have read.', ...connections)
  metric('uploads', 'gauge', 'Bodies that Mongrel2 stores or sends in parts now.', [state.uploads])
  metric('web_sockets', 'gauge', 'Open WebSockets.', [state.webSockets])
  metric('message_sockets', 'gauge', 'Open JSON and XML sockets.', [state.messageSockets])
  metric('topic_members', 'gauge', 'Members of all Topics.', [state.topicMembers])
  metric('closing', 'gauge', 'Whether the server closes.', [Number(state.closing)])
  const ofLinks = (value: (link: (typeof links)[number]) => number) =>
    links.map((link): Sample => [value(link), { send_spec: link.sendSpec, recv_spec: link.recvSpec }])
  metric('link_up', 'gauge', 'Whether Mongrel2 is there.', ...ofLinks(({ attached }) => Number(attached)))
  metric('link_since_seconds', 'gauge', 'Since when, as Unix time.', ...ofLinks(({ since }) => since / 1000))
  const ofWorkers = (value: (worker: (typeof workers)[number]) => number) =>
    workers.map((worker): Sample => {
      const { node, place, pid } = worker
      return [value(worker), { node, place, pid }]
    })
  metric(
    'worker_up',
    'gauge',
    'Whether a worker gets new connections.',
    ...ofWorkers((one) => Number(one.state === 'ready')),
  )
  metric(
    'worker_start_seconds',
    'gauge',
    'When a worker was started, as Unix time.',
    ...ofWorkers((one) => one.since / 1000),
  )
  metric('worker_resident_memory_bytes', 'gauge', 'Resident memory of a worker.', ...ofWorkers(({ rss }) => rss))
  metric(
    'worker_event_loop_delay_seconds',
    'gauge',
    'Longest delay of its event loop in the last second.',
    ...ofWorkers(({ eventLoopDelay }) => eventLoopDelay / 1000),
  )
  metric('worker_requests', 'gauge', 'Requests that a worker got.', ...ofWorkers(({ requests }) => requests))
  const restarts = places.map(({ node, place, restarts }): Sample => [restarts, { node, place }])
  metric('worker_restarts', 'counter', 'Workers started in place of others.', ...restarts)
  metric('process_resident_memory_bytes', 'gauge', 'Resident memory of this process.', [process.memoryUsage.rss()])
  if (openMetrics) lines.push('# EOF')
  return `${lines.join('\n')}\n`
}

function byClass({ byClass }: RequestTotals): Sample[] {
  return STATUS_CLASSES.map((status, at) => [byClass[at] ?? 0, { status }])
}

/** The histogram's buckets, each with all below it. */
function byTime({ byDuration, duration, count }: RequestTotals): Sample[] {
  let sum = 0
  const buckets = byDuration.map((value, at): Sample => {
    sum += value
    return [sum, { le: DURATION_BOUNDS[at] ?? '+Inf' }, '_bucket']
  })
  return [...buckets, [duration, {}, '_sum'], [count, {}, '_count']]
}

function escapeLabel(text: string): string {
  return text.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`))
}
