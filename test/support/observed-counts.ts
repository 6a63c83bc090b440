import { readFile } from 'node:fs/promises'
import type { RequestEntry } from '../../src/index.ts'
import type { Counted } from './observed-load.ts'

/** The entries of a request log of JSON. */
export async function entriesIn(path: string): Promise<RequestEntry[]> {
  const text = await readFile(path, 'utf8')
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
}

/** The same counts by the log. */
export function inLog(entries: readonly RequestEntry[]): Counted {
  const counted: Counted = { statuses: {}, bytes: 0, sent: 0, aborted: 0 }
  for (const { status = 'none', bytes, received, aborted } of entries) {
    counted.statuses[status] = (counted.statuses[status] ?? 0) + 1
    if (aborted) counted.aborted++
    else counted.bytes += bytes
    counted.sent += received
  }
  return counted
}

export function statusClasses(statuses: Counted['statuses']): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const [status, count] of Object.entries(statuses)) {
    const name = `${status.slice(0, 1)}xx`
    counts[name] = (counts[name] ?? 0) + count
  }
  return counts
}

/** The counts by class of status, where there are any, and those aborted. */
export function inMetrics(text: string): Record<string, number> {
  const pairs = Array.from(
    text.matchAll(/^mongrel2_fetch_requests_total\{status="(.+)"\} (\d+)$/gm),
    ([, name, count]) => [name, Number(count)],
  )
  const counts = Object.fromEntries(pairs.filter(([, count]) => count !== 0))
  return { ...counts, aborted: metric(text, 'requests_aborted_total') }
}

/** The sum of a metric's samples. */
export function metric(text: string, name: string): number {
  return sum(
    Array.from(text.matchAll(new RegExp(`^mongrel2_fetch_${name}(?:\\{.*\\})? (.+)$`, 'gm')), ([, value]) =>
      Number(value),
    ),
  )
}

export function sum(values: readonly number[] | Record<string, number>): number {
  return Object.values(values).reduce((total, value) => total + value, 0)
}
