import { type Deferred, deferred, delay } from '../../runtime/promises.ts'
import { MalformedError } from '../../wire/malformed.ts'
import type { WorkersSettings } from '../options.ts'
import { isReport, type News, type Order, parseNews, parseReport, type Report, renderJson } from '../protocol/frames.ts'
import { isTopicFrame, topicSlotOf } from '../protocol/topic-frames.ts'
import type { WorkerHandle, WorkerHost } from '../protocol/worker-handle.ts'
import { Slot } from './slot.ts'

/** How often a worker is asked for a sign of life within the time that it may be silent for. */
const BEATS = 4
/** The longest time between two of them, in milliseconds. */
const LONGEST_BEAT = 1000

/** Told what a worker process says and how it ends. */
export interface WorkerObserver {
  report(worker: WorkerProcess, report: Report): void
  news(worker: WorkerProcess, news: News): void
  /** It has a message of a topic with a name. */
  topicMessage(worker: WorkerProcess, frame: Buffer): void
  /** It is gone, and everything it said has been heard. */
  gone(worker: WorkerProcess, reason: string): void
}

/** A worker process, from its start to its end. */
export class WorkerProcess {
  readonly slots: readonly Slot[]
  /** Epochs, by their numbers, that it has been told of and cannot answer to (yet), with the beats that this has lasted. */
  readonly unattached = new Map<number, number>()
  loaded = false
  /** Whether it was told to end. */
  stopping = false
  readonly #deaf = new Set<number>()
  readonly #heard: Deferred<void> = deferred()
  readonly #host: WorkerHost
  readonly #handle: WorkerHandle
  readonly #observer: WorkerObserver
  readonly #timeout: number
  #outgoing: Buffer[] = []
  /** Beats that each slot has been silent for. */
  readonly #silent: number[]
  readonly #beat: NodeJS.Timeout
  readonly #beatTime: number
  #startTimer: NodeJS.Timeout | undefined
  #endedCleanly = false
  #killReason: string | undefined

  constructor(settings: WorkersSettings, host: WorkerHost, observer: WorkerObserver) {
    this.#host = host
    this.#observer = observer
    this.#timeout = settings.workerTimeout
    this.slots = Array.from({ length: settings.threads }, (_, index) => new Slot(index, host.seesUploads))
    this.#silent = this.slots.map(() => 0)
    this.#handle = host.start({
      receive: (frame) => this.#receive(frame),
      ended: (how, clean) => this.#ended(how, clean),
    })
    const { startTimeout } = settings
    this.#startTimer = setTimeout(
      () => this.kill(`it had not loaded its app within startTimeout, ${startTimeout} ms`),
      startTimeout,
    )
    this.#beatTime = Math.min(this.#timeout / BEATS, LONGEST_BEAT)
    this.#beat = setInterval(() => this.#expectLife(), this.#beatTime)
  }

  /** Its number on its machine. */
  get pid(): number {
    return this.#handle.pid
  }

  /** What its machine is called; empty for this one. */
  get node(): string {
    return this.#host.name
  }

  /** What the log calls it. */
  get name(): string {
    return this.node === '' ? `worker ${this.pid}` : `worker ${this.pid} on ${this.node}`
  }

  /** Whether it can answer to every Mongrel2 that there is. */
  get ready(): boolean {
    return this.loaded && this.unattached.size === 0
  }

  get connections(): number {
    return this.slots.reduce((sum, slot) => sum + slot.connections, 0)
  }

  get requests(): number {
    return this.slots.reduce((sum, slot) => sum + slot.requests, 0)
  }

  get inFlight(): number {
    return this.slots.reduce((sum, slot) => sum + slot.inFlight, 0)
  }

  /** Lets it finish what needs messages, for so many milliseconds; resolves when it needs none, or is gone. */
  async goAway(timeout: number): Promise<void> {
    if (!this.loaded || this.stopping) return
    this.order({ order: 'goAway', timeout })
    this.flush()
    await Promise.race([this.#heard.promise, delay(timeout)])
  }

  /** Whether it ended as it was told to, with everything delivered. */
  get endedCleanly(): boolean {
    return this.stopping && this.#endedCleanly
  }

  /** Tells it to answer what is open within so many milliseconds, and to end. */
  stop(timeout: number): void {
    this.stopping = true
    if (!this.loaded) return this.kill('it was not needed any more')
    this.#handle.expectEnd()
    this.order({ order: 'stop', timeout })
  }

  /** Queues a frame until `flush`. */
  send(frame: Buffer): void {
    this.#outgoing.push(frame)
  }

  order(order: Order): void {
    this.send(renderJson(order))
  }

  /** Sends what has been queued, in one message of several parts. */
  flush(): void {
    const frames = this.#outgoing
    this.#outgoing = []
    if (frames.length > 0) this.#handle.send(frames)
  }

  /** Ends it at once. */
  kill(reason: string): void {
    this.#killReason ??= reason
    this.#handle.kill()
  }

  #receive(frame: Buffer): void {
    if (isReport(frame)) {
      const report = parseReport(frame)
      this.#checkSlot(report.slot)
      return this.#observer.report(this, report)
    }
    if (isTopicFrame(frame)) {
      this.#checkSlot(topicSlotOf(frame))
      return this.#observer.topicMessage(this, frame)
    }
    const news = parseNews(frame)
    if ('slot' in news) this.#checkSlot(news.slot)
    if (news.news === 'failed') this.#killReason ??= news.reason
    else if (news.news === 'loaded') {
      this.loaded = true
      clearTimeout(this.#startTimer)
    } else if (news.news === 'alive') this.#silent[news.slot] = 0
    else if (news.news === 'heard') {
      this.#deaf.add(news.slot)
      if (this.#deaf.size === this.slots.length) this.#heard.resolve()
    }
    this.#observer.news(this, news)
  }

  #checkSlot(slot: number): void {
    const last = this.slots.length - 1
    if (slot > last) throw new MalformedError(`expected a slot from 0 to ${last}, got ${slot}`)
  }

  /**
   * Counted by the timer and not by the clock: when this process itself stood still, the signs of life that came meanwhile are read
   * before the next beat.
   */
  #expectLife(): void {
    if (!this.loaded) return
    const most = this.#timeout / this.#beatTime
    this.slots.forEach((_, slot) => {
      const silent = (this.#silent[slot] ?? 0) + 1
      this.#silent[slot] = silent
      if (silent > most) this.kill(`it gave no sign of life within workerTimeout, ${this.#timeout} ms`)
    })
    for (const [epoch, beats] of this.unattached) {
      this.unattached.set(epoch, beats + 1)
      if (beats > most) this.kill(`it did not reach Mongrel2 within workerTimeout, ${this.#timeout} ms`)
    }
    this.order({ order: 'ping' })
    this.flush()
  }

  #ended(how: string, clean: boolean): void {
    clearTimeout(this.#startTimer)
    clearInterval(this.#beat)
    this.#endedCleanly = clean
    this.#heard.resolve()
    this.#observer.gone(this, this.#killReason ?? how)
  }
}
