import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { v4 } from 'uuid'
import { type Deferred, deferred, delay } from '../deferred.ts'
import type { ZmtpConnection } from '../link/zmtp/connection.ts'
import { LOG_LEVELS } from '../log.ts'
import { moduleBeside } from '../module-beside.ts'
import { renderMultipart } from '../wire/zmtp-frame.ts'
import type { ExchangePoint } from './exchange-point.ts'
import { isReport, type News, type Order, parseNews, parseReport, type Report, renderJson } from './frames.ts'
import { Slot } from './slot.ts'
import { isTopicFrame } from './topic-frames.ts'
import { WORKER_VARIABLE, type WorkerConfig } from './worker/config.ts'
import type { WorkersSettings } from './workers-options.ts'

const ENTRY = fileURLToPath(moduleBeside(import.meta.url, './worker/process'))
/** How often a worker is asked for a sign of life within the time that it may be silent for. */
const BEATS = 4
/** The longest time between two of them, in milliseconds. */
const LONGEST_BEAT = 1000
/** How long a worker may take to end once it has closed its sockets, in milliseconds: told to, and otherwise. */
const EXIT_TIME = 2000
const LOSS_TIME = 500

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
  readonly #child: ChildProcess
  readonly #observer: WorkerObserver
  readonly #timeout: number
  #dealer: ZmtpConnection | undefined
  #outgoing: Buffer[] = []
  /** Beats that each slot has been silent for. */
  readonly #silent: number[]
  readonly #beat: NodeJS.Timeout
  readonly #beatTime: number
  #startTimer: NodeJS.Timeout | undefined
  #exitTimer: NodeJS.Timeout | undefined
  #exited: string | undefined
  #reportsClosed = true
  #killReason: string | undefined

  constructor(settings: WorkersSettings, point: ExchangePoint, observer: WorkerObserver) {
    this.#observer = observer
    this.#timeout = settings.workerTimeout
    this.slots = Array.from({ length: settings.threads }, (_, index) => new Slot(index))
    this.#silent = this.slots.map(() => 0)
    const identity = v4()
    point.expect(identity, {
      receive: (frame) => this.#receive(frame),
      dealerOpened: (connection) => {
        this.#dealer = connection
        void connection.closed.then(() => this.#disconnected())
      },
      reportsOpened: (connection) => {
        this.#reportsClosed = false
        void connection.closed.then(() => {
          this.#reportsClosed = true
          this.#disconnected()
          this.#endIfGone()
        })
      },
    })
    this.#child = start(settings, { identity, dealSpec: point.dealSpec, reportSpec: point.reportSpec })
    this.#child.on('error', (error) => this.#exit(point, identity, `it could not be started: ${error.message}`))
    this.#child.on('exit', (code, signal) =>
      this.#exit(point, identity, signal === null ? `it exited with code ${code}` : `it was ended by ${signal}`),
    )
    const { startTimeout } = settings
    this.#startTimer = setTimeout(
      () => this.kill(`it had not loaded its app within startTimeout, ${startTimeout} ms`),
      startTimeout,
    )
    this.#beatTime = Math.min(this.#timeout / BEATS, LONGEST_BEAT)
    this.#beat = setInterval(() => this.#expectLife(), this.#beatTime)
  }

  get pid(): number {
    return this.#child.pid ?? 0
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
    return this.stopping && this.#child.exitCode === 0
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
    if (frames.length > 0) this.#dealer?.write(renderMultipart(frames))
  }

  /** Ends it at once. */
  kill(reason: string): void {
    this.#killReason ??= reason
    this.#child.kill('SIGKILL')
  }

  #receive(frame: Buffer): void {
    if (isReport(frame)) return this.#observer.report(this, parseReport(frame))
    if (isTopicFrame(frame)) return this.#observer.topicMessage(this, frame)
    const news = parseNews(frame)
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

  /** One that we do not hear any more could still publish: it has to end. */
  #disconnected(): void {
    if (this.#exited === undefined) {
      this.#exitTimer ??= setTimeout(() => this.kill('it closed its sockets'), this.stopping ? EXIT_TIME : LOSS_TIME)
    }
  }

  #exit(point: ExchangePoint, identity: string, how: string): void {
    if (this.#exited !== undefined) return
    this.#exited = how
    clearTimeout(this.#startTimer)
    clearTimeout(this.#exitTimer)
    clearInterval(this.#beat)
    // Handshakes that it has not come to the end of are of no interest, but connections that it has are read to their end.
    if (this.#reportsClosed) point.forget(identity)
    this.#endIfGone()
  }

  #endIfGone(): void {
    if (this.#exited === undefined || !this.#reportsClosed) return
    this.#heard.resolve()
    this.#observer.gone(this, this.#killReason ?? this.#exited)
  }
}

function start(
  { app, options, threads, execArgv, settings }: WorkersSettings,
  sockets: Pick<WorkerConfig, 'identity' | 'dealSpec' | 'reportSpec'>,
): ChildProcess {
  const { logger: _logger, signal: _signal, identity: _identity, ...rest } = options
  const logLevels = LOG_LEVELS.filter((level) => settings.logger[level] !== undefined)
  const config: WorkerConfig = { ...sockets, threads, app, options: rest, logLevels }
  return spawn(process.execPath, [...execArgv, ENTRY], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, [WORKER_VARIABLE]: JSON.stringify(config) },
  })
}
