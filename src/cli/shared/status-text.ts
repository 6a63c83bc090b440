import type { AdminStats, EndedRequests } from '../../admin/monitor.ts'
import { MIB } from '../../options/option.ts'
import { tableText } from './table.ts'

const MOST_WARNINGS = 5

/** Makes the text of a server's state for a terminal or the log. */
export function statusText(stats: AdminStats): string {
  const { version, runtime, pid, uptime, rss, obstacles, ended, workers, places = [], pacing } = stats
  const now = Date.now()
  const summary = [
    obstacles.length === 0 ? 'ready' : `not ready: ${obstacles.join('; ')}`,
    `process      ${pid}, mongrel2-fetch ${version} on ${runtime}, up ${age(1000 * uptime)}, memory ${mebibytes(rss)}`,
    ended === undefined ? `messages     ${grouped(stats.messages)}` : endedText(ended),
    `now          ${stats.inFlight} in flight, ${stats.queued} queued, ${stats.uploads} uploads`,
    `connections  ${stats.connections}: ${pacing.credits} by credits, ${pacing.controlPort} by control port, ${pacing.estimate} by estimate`,
    `sockets      ${stats.webSockets} WebSockets, ${stats.messageSockets} message sockets, ${stats.topicMembers} Topic members`,
    `refused      ${grouped(stats.rejected)} rejected, ${grouped(stats.malformed)} malformed, ${grouped(stats.ignored)} ignored`,
  ]
  const links = stats.links.map(({ sendSpec, recvSpec, attached, since }) => {
    return { link: `${sendSpec},${recvSpec}`, state: attached ? 'up' : 'down', since: age(now - since) }
  })
  const parts = [summary.join('\n'), tableText(links, ['link', 'state', 'since'])]
  if (workers !== undefined) {
    const restartsAt = (node: string, place: number) =>
      places.find((one) => one.node === node && one.place === place)?.restarts
    const rows = workers.map(({ pid, node, place, since, rss, eventLoopDelay, inFlight, ...counts }) => ({
      ...counts,
      worker: pid,
      node: node || '-',
      restarts: restartsAt(node, place) ?? '-',
      'in flight': inFlight,
      age: age(now - since),
      memory: mebibytes(rss),
      delay: `${eventLoopDelay.toFixed(0)} ms`,
    }))
    const keys = [
      'worker',
      'node',
      'state',
      'in flight',
      'connections',
      'requests',
      'age',
      'restarts',
      'memory',
      'delay',
    ]
    parts.push(tableText(rows, keys))
  }
  const warnings = (stats.warnings ?? []).slice(-MOST_WARNINGS).map(({ time, level, line }) => {
    return `${new Date(time).toISOString()} ${level} ${line.split('\n', 1)}`
  })
  if (warnings.length > 0) parts.push(warnings.join('\n'))
  return parts.join('\n\n')
}

function endedText(ended: EndedRequests): string {
  const { total, byClass, aborted, rate, latency, bytes, received } = ended
  const classes = Object.entries(byClass).flatMap(([name, count]) => (count > 0 ? [`${grouped(count)} ${name}`] : []))
  const times = latency && `p50 ${latency.p50} ms, p95 ${latency.p95} ms, p99 ${latency.p99} ms`
  return `requests     ${grouped(total)}, now ${rate} a second
statuses     ${[...classes, `${grouped(aborted)} aborted`].join(', ')}
latency      ${times ?? 'no request in the last ten seconds'}
bytes        ${grouped(bytes)} sent, ${grouped(received)} received`
}

function grouped(count: number): string {
  return count.toLocaleString('en-US')
}

function mebibytes(bytes: number): string {
  return bytes === 0 ? '-' : `${(bytes / MIB).toFixed(0)} MiB`
}

const UNITS = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
] as const

/** Such as `3 h`: the largest unit of which there are two. */
function age(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000))
  const [length, name] = UNITS.find(([length]) => seconds >= 2 * length) ?? [1, 's']
  return `${Math.floor(seconds / length)} ${name}`
}
