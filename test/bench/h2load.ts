import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { runProgram } from './run-program.ts'
import { percentile } from './statistics.ts'

/**
 * Requests a second of one connection: its next is due 25 ms later, by when the last was answered. So a slow answer delays no
 * other request, and none waits unseen (coordinated omission).
 */
const RATE_OF_CONNECTION = 40
/** The part of the wanted rate that must have been reached. */
const RATE_KEPT = 0.95

/** Latencies in milliseconds. */
export interface Latencies {
  /** How many requests were sent. */
  readonly requests: number
  readonly p50: number
  readonly p99: number
}

/**
 * Lets h2load ask at a fixed rate, whatever the answers do, over HTTP/1.1.
 *
 * @param rate Requests a second, all connections together.
 * @param directory For its log.
 * @throws Error if an answer failed or the server could not keep the rate.
 */
export async function askAtRate(url: string, rate: number, seconds: number, directory: string): Promise<Latencies> {
  const connections = Math.ceil(rate / RATE_OF_CONNECTION)
  const sent = connections * Math.round(RATE_OF_CONNECTION * seconds)
  const log = join(directory, 'h2load.tsv')
  await rm(log, { force: true })
  const { finished } = await h2load([
    ...['-c', String(connections), '-n', String(sent), '--rps', String(RATE_OF_CONNECTION)],
    // One connection a millisecond, so that they do not all ask in the same moment for ever.
    ...['-r', '1', '--rate-period', '1ms', '--log-file', log],
    url,
  ])
  // Its warm-up: until every connection is there.
  const rampUp = connections / 1000
  const expected = rampUp + seconds
  if (finished > expected / RATE_KEPT) {
    throw new Error(
      `it did not keep ${rate} requests/s: they took ${finished.toFixed(1)} s instead of ${expected.toFixed(1)}`,
    )
  }
  const rows = (await readFile(log, 'utf8')).trimEnd().split('\n')
  const requests = rows.map((row) => {
    const [start = 0, , duration = 0] = row.split('\t').map(Number)
    return { start, milliseconds: duration / 1000 }
  })
  const first = requests.reduce((earliest, { start }) => Math.min(earliest, start), Number.POSITIVE_INFINITY)
  const durations = requests
    .filter(({ start }) => start - first > rampUp * 1e6)
    .map(({ milliseconds }) => milliseconds)
    .sort((a, b) => a - b)
  return { requests: sent, p50: percentile(durations, 0.5), p99: percentile(durations, 0.99) }
}

/**
 * Lets h2load ask so many times in a row over one connection.
 *
 * @param body A file to send.
 * @returns Seconds that it took.
 */
export async function askInARow(url: string, times: number, body?: string): Promise<number> {
  const { finished } = await h2load([
    ...['-c', '1', '-n', String(times)],
    ...(body === undefined ? [] : ['-d', body]),
    url,
  ])
  return finished
}

const SECONDS = { s: 1, ms: 1e-3, us: 1e-6 }

async function h2load(args: readonly string[]): Promise<{ finished: number }> {
  const output = await runProgram('h2load', ['--h1', ...args])
  const finished = /^finished in ([\d.]+)(s|ms|us),/m.exec(output)
  const requests = /^requests: (\d+) total, .* (\d+) succeeded, /m.exec(output)
  const good = /^status codes: (\d+) 2xx/m.exec(output)
  const unit = finished?.[2]
  if (requests === null || (unit !== 's' && unit !== 'ms' && unit !== 'us')) {
    throw new Error(`h2load printed something else than expected: ${output}`)
  }
  const [, total, succeeded] = requests
  if (succeeded !== total || good?.[1] !== total) {
    throw new Error(`h2load got ${good?.[1] ?? 0} good answers to ${total} requests`)
  }
  return { finished: Number(finished?.[1]) * SECONDS[unit] }
}
