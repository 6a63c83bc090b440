import type { WorkerState } from '../../operations/server-state.ts'
import { type Deferred, deferred, delay } from '../../runtime/promises.ts'
import { MalformedError } from '../../wire/malformed.ts'
import type { WorkersSettings } from '../options.ts'
import {
  isReport,
  isTopicFrame,
  type News,
  type Order,
  parseNews,
  parseReport,
  type Report,
  renderJson,
  threadOf,
} from '../protocol/frames.ts'
import type { WorkerHandle, WorkerHost } from '../protocol/worker-handle.ts'
import { ThreadState } from './state.ts'

/** Pings within the time that a worker may be silent. */
const BEATS = 4
/** The longest time between two pings, in milliseconds. */
const LONGEST_BEAT = 1000
/** Time beyond its timeout for a worker to end, in milliseconds. */
const STOP_GRACE = 2000

/** Takes the reports of a worker process, and learns of its end. */
export interface WorkerObserver {
  report(worker: WorkerProxy, report: Report): void
  news(worker: WorkerProxy, news: News): void
  /** Takes a message of a named topic. */
  topicMessage(worker: WorkerProxy, frame: Buffer): void
  /** Called when the worker is gone, after its last report. */
  gone(worker: WorkerProxy, reason: string): void
}

export type WorkerProxySettings = Pick<
  WorkersSettings,
  'threads' | 'workerTimeout' | 'startTimeout' | 'maxRequests' | 'maxRequestsJitter'
>

/** A worker process as the dispatcher sees it, from its start to its end. */
export class WorkerProxy {
  readonly threads: readonly ThreadState[]
  /** Requests after which it is replaced. */
  readonly maxRequests: number
  /** Numbers of announced epochs to which the worker is not attached, with the pings since then. */
  readonly unattached = new Map<number, number>()
  loaded = false
  /** Whether it shows why the app cannot be loaded, instead of the app. */
  broken = false
  /** Whether it was told to end. */
  stopping = false
  gone = false
  /** The threads whose input has been drained. */
  readonly #drained = new Set<number>()
  readonly #inputDrained: Deferred<void> = deferred()
  readonly #host: WorkerHost
  readonly #handle: WorkerHandle
  readonly #observer: WorkerObserver
  readonly #timeout: number
  #outgoing: Buffer[] = []
  #turn: NodeJS.Immediate | undefined
  /** Pings that each thread has not answered. */
  readonly #silent: number[]
  readonly #beat: NodeJS.Timeout
  readonly #beatTime: number
  #startTimer: NodeJS.Timeout | undefined
  readonly #since = Date.now()
  #rss = 0
  #endedCleanly = false
  #killReason: string | undefined

  constructor(
    { workerTimeout, threads, startTimeout, maxRequests, maxRequestsJitter }: WorkerProxySettings,
    host: WorkerHost,
    observer: WorkerObserver,
  ) {
    const more = Math.floor(Math.random() * (maxRequestsJitter + 1))
    this.maxRequests = maxRequests > 0 ? maxRequests + more : Number.POSITIVE_INFINITY
    this.#host = host
    this.#observer = observer
    this.#timeout = workerTimeout
    this.threads = Array.from({ length: threads }, (_, index) => new ThreadState(index, host.seesUploads))
    this.#silent = this.threads.map(() => 0)
    this.#handle = host.start({
      receive: (frame) => this.#receive(frame),
      ended: (how, clean) => this.#ended(how, clean),
    })
    this.#startTimer = setTimeout(
      () => this.kill(`it had not loaded its app within startTimeout, ${startTimeout} ms`),
      startTimeout,
    )
    this.#beatTime = Math.min(this.#timeout / BEATS, LONGEST_BEAT)
    this.#beat = setInterval(() => this.#expectLife(), this.#beatTime)
  }

  /** Its process id on its machine. */
  get pid(): number {
    return this.#handle.pid
  }

  /** The name of the node that it runs on; empty for this machine. */
  get node(): string {
    return this.#host.name
  }

  /** Its name in the log. */
  get name(): string {
    return `worker ${this.pid}${this.#host.name && ` on ${this.#host.name}`}`
  }

  /** Whether it answers to an endpoint, by its number. */
  answersTo(link: number): boolean {
    return link < this.#host.endpoints
  }

  /** Whether it has loaded the app and is attached to every epoch of its endpoints. */
  get ready(): boolean {
    return this.loaded && this.unattached.size === 0
  }

  get connections(): number {
    return this.threads.reduce((sum, thread) => sum + thread.connections, 0)
  }

  get requests(): number {
    return this.threads.reduce((sum, thread) => sum + thread.requests, 0)
  }

  get state(): Omit<WorkerState, 'place'> {
    const { pid, connections, requests } = this
    const since = this.#since
    const rss = this.#rss
    const eventLoopDelay = Math.max(...this.threads.map((thread) => thread.eventLoopDelay))
    const inFlight = this.threads.reduce((sum, thread) => sum + thread.inFlight, 0)
    const reached = this.loaded && (this.ready || this.threads.some(({ attached }) => attached.size > 0))
    const state = this.threads.some(({ retiring }) => retiring) ? 'leaving' : 'ready'
    const phase = reached ? state : 'starting'
    return { pid, node: this.node, state: phase, inFlight, connections, requests, since, rss, eventLoopDelay }
  }

  /** Whether it ended as it was told to, with everything delivered. */
  get endedCleanly(): boolean {
    return this.stopping && this.#endedCleanly
  }

  /** Lets it finish what needs messages, within a time in milliseconds; resolves when it needs none, or is gone. */
  async goAway(timeout: number): Promise<void> {
    if (!this.loaded || this.stopping) return
    this.order({ order: 'goAway', timeout })
    await Promise.race([this.#inputDrained.promise, delay(timeout)])
  }

  /** Lets it answer what is open within a time in milliseconds, and end. */
  stop(timeout: number): void {
    if (this.stopping || this.gone) return
    this.stopping = true
    if (!this.loaded) return this.kill('it was not needed any more')
    this.#handle.expectEnd()
    this.order({ order: 'stop', timeout })
    setTimeout(() => this.kill('it did not end'), timeout + STOP_GRACE).unref()
  }

  /** Sends a frame, together with the others of this turn. */
  send(frame: Buffer): void {
    this.#outgoing.push(frame)
    this.#turn ??= setImmediate(this.#flush)
  }

  order(order: Order): void {
    this.send(renderJson(order))
  }

  /** Ends it at once. */
  kill(reason: string): void {
    this.#killReason ??= reason
    this.#handle.kill()
  }

  readonly #flush = (): void => {
    const frames = this.#outgoing
    this.#outgoing = []
    this.#turn = undefined
    this.#handle.send(frames)
  }

  #receive(frame: Buffer): void {
    if (isReport(frame)) {
      const report = parseReport(frame)
      this.#checkThread(report.thread)
      return this.#observer.report(this, report)
    }
    if (isTopicFrame(frame)) {
      this.#checkThread(threadOf(frame))
      return this.#observer.topicMessage(this, frame)
    }
    const news = parseNews(frame)
    if ('thread' in news) this.#checkThread(news.thread)
    if (news.news === 'failed') this.#killReason ??= news.reason
    else if (news.news === 'broken') this.broken = true
    else if (news.news === 'loaded') {
      this.loaded = true
      clearTimeout(this.#startTimer)
    } else if (news.news === 'alive') {
      this.#silent[news.thread] = 0
      this.#rss = news.rss
    } else if (news.news === 'inputDrained') {
      this.#drained.add(news.thread)
      if (this.#drained.size === this.threads.length) this.#inputDrained.resolve()
    }
    this.#observer.news(this, news)
  }

  #checkThread(thread: number): void {
    const last = this.threads.length - 1
    if (thread > last) throw new MalformedError(`expected a thread from 0 to ${last}, got ${thread}`)
  }

  /** Counts silence in timer ticks: after a pause of this process, it reads the signs of life that came meanwhile before the next tick. */
  #expectLife(): void {
    if (!this.loaded) return
    const most = this.#timeout / this.#beatTime
    this.threads.forEach((_, thread) => {
      const silent = (this.#silent[thread] ?? 0) + 1
      this.#silent[thread] = silent
      if (silent > most) this.kill(`it gave no sign of life within workerTimeout, ${this.#timeout} ms`)
    })
    for (const [epoch, beats] of this.unattached) {
      this.unattached.set(epoch, beats + 1)
      if (beats > most) this.kill(`it did not reach Mongrel2 within workerTimeout, ${this.#timeout} ms`)
    }
    this.order({ order: 'ping' })
  }

  #ended(how: string, clean: boolean): void {
    clearTimeout(this.#startTimer)
    clearInterval(this.#beat)
    this.gone = true
    this.#endedCleanly = clean
    this.#inputDrained.resolve()
    this.#observer.gone(this, this.#killReason ?? how)
  }
}
