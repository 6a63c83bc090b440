import { type RequestCounts, STATUS_CLASSES } from '../operations/request-totals.ts'
import { obstaclesOf, type ServerState } from '../operations/server-state.ts'
import { ownVersion, runtimeName } from '../runtime/process/versions.ts'
import { type Latency, latencyOf } from './latency.ts'

export type { Latency } from './latency.ts'

/** How many seconds are kept. */
const KEPT = 120
/** The seconds over which rates and percentiles are taken. */
const RECENT = 10

/** Numbers of requests by the class of their status; `none` had none: the client left before, or another process answered. */
export type RequestsByClass = Readonly<Record<(typeof STATUS_CLASSES)[number], number>>

/** Ended requests since the start, and how quick they are. */
export interface EndedRequests {
  readonly total: number
  readonly byClass: RequestsByClass
  /** Those whose response was given up before its end. */
  readonly aborted: number
  /** Bytes of responses, heads and framing included. */
  readonly bytes: number
  /** Bytes of bodies of requests. */
  readonly received: number
  /** Requests a second, in the last ten seconds. */
  readonly rate: number
  /** In the last ten seconds, by a histogram; undefined if no request ended. */
  readonly latency?: Latency | undefined
}

/** What `/stats` tells: the server's state, and what is known of its process. */
export interface AdminStats extends Omit<ServerState, 'totals'> {
  /** This package's version. */
  readonly version: string
  /** The runtime, such as `Node 24.11.0`. */
  readonly runtime: string
  /** The process that pulls from Mongrel2, and with workers deals to them. */
  readonly pid: number
  /** Seconds since its start. */
  readonly uptime: number
  /** Its resident memory in bytes. */
  readonly rss: number
  /** Why the server is not ready; empty if it is. */
  readonly obstacles: readonly string[]
  /** Undefined without the option `metrics`. */
  readonly ended?: EndedRequests
}

/** One of the last seconds. */
export interface AdminSecond {
  /** Its end, in milliseconds since 1970. */
  readonly time: number
  /** Requests that ended, in a second. */
  readonly byClass: RequestsByClass
  readonly latency?: Latency | undefined
  /** Handlers that had not returned at its end. */
  readonly inFlight: number
  /** Requests that waited for a place at its end. */
  readonly queued: number
}

interface Sample {
  /** By `performance.now()`. */
  readonly at: number
  readonly totals: RequestCounts
}

/** Derives rates and percentiles from the state of a server, of which it takes a sample each second if the server counts requests. */
export class Monitor {
  /** The last two minutes, the oldest first. */
  readonly seconds: AdminSecond[] = []
  readonly #state: () => ServerState
  readonly #samples: Sample[] = []
  readonly #timer: NodeJS.Timeout | undefined

  constructor(state: () => ServerState) {
    this.#state = state
    const { totals } = state()
    if (totals === undefined) return
    this.#samples.push({ at: performance.now(), totals })
    this.#timer = setInterval(() => this.#sample(), 1000).unref()
  }

  stats(): AdminStats {
    const { totals, ...state } = this.#state()
    return {
      version: ownVersion(),
      runtime: runtimeName(),
      pid: process.pid,
      uptime: Math.floor(process.uptime()),
      rss: process.memoryUsage.rss(),
      obstacles: obstaclesOf(state),
      ...state,
      ...(totals && { ended: this.#ended(totals) }),
    }
  }

  #ended(totals: RequestCounts): EndedRequests {
    const { aborted, bytes, received } = totals
    const [first] = this.#samples
    const { rate, latency } = between(first ?? { at: 0, totals }, { at: performance.now(), totals })
    const byClass = classesOf(totals.byClass)
    return { total: sum(totals.byClass), byClass, aborted, bytes, received, rate: tenths(sum(rate)), latency }
  }

  #sample(): void {
    const { totals, inFlight, queued, closing, links } = this.#state()
    // The server has ended.
    if (totals === undefined || (closing && links.every(({ attached }) => !attached))) return clearInterval(this.#timer)
    const now = { at: performance.now(), totals }
    const { rate, latency } = between(this.#samples.at(-1) ?? now, now)
    this.seconds.push({ time: Date.now(), byClass: classesOf(rate), latency, inFlight, queued })
    this.#samples.push(now)
    if (this.seconds.length > KEPT) this.seconds.shift()
    if (this.#samples.length > RECENT) this.#samples.shift()
  }
}

/** Requests a second by class, and their latency, between two samples. */
function between(before: Sample, after: Sample): { rate: number[]; latency: Latency | undefined } {
  const since = (counts: readonly number[], past: readonly number[]) =>
    counts.map((count, at) => count - (past[at] ?? 0))
  const seconds = Math.max(after.at - before.at, 1) / 1000
  return {
    rate: since(after.totals.byClass, before.totals.byClass).map((count) => tenths(count / seconds)),
    latency: latencyOf(since(after.totals.byDuration, before.totals.byDuration)),
  }
}

function classesOf(counts: readonly number[]): RequestsByClass {
  return Object.fromEntries(STATUS_CLASSES.map((name, at) => [name, counts[at] ?? 0])) as RequestsByClass
}

function tenths(value: number): number {
  return Math.round(10 * value) / 10
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}
