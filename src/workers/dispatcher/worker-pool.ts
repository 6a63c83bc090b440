import { publishWorkerEvent } from '../../operations/channels.ts'
import { addCounts, addFigures, type FigureState, noFigures, stateOf } from '../../operations/figures.ts'
import type { ServerState } from '../../operations/server-state.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/log.ts'
import { Backoff, type Deferred, deferred } from '../../runtime/promises.ts'
import type { WorkersSettings } from '../options.ts'
import type { News, Report } from '../protocol/frames.ts'
import type { WorkerHost } from '../protocol/worker-handle.ts'
import type { ThreadState } from './state.ts'
import { type WorkerObserver, WorkerProxy, type WorkerProxySettings } from './worker-proxy.ts'

/** Waits between starts of workers that end before they load the app, in milliseconds. */
const BACKOFF = [100, 10_000] as const

type PoolSettings = WorkerProxySettings & Pick<WorkersSettings, 'maxRss'>

/** Takes the reports of workers, and learns of their ends. */
export interface PoolOwner extends Partial<WorkerObserver> {
  /** Lets a worker whose place another has taken finish what is open and end. */
  retire(worker: WorkerProxy): void
}

/** What a pool knows of its workers. */
type PoolState = FigureState & Required<Pick<ServerState, 'inFlight' | 'workers' | 'places'>>

/** A machine with places for workers. */
interface Machine {
  readonly host: WorkerHost
  readonly places: Place[]
  readonly filled: Deferred<void>
  readonly backoff: Backoff
  /** Whether the last worker could not load the app. */
  loadFailed: boolean
  closed: boolean
}

/** A place for one worker process; if it ends, another is started. */
interface Place {
  readonly machine: Machine
  /** Its number on the machine, from 1. */
  readonly number: number
  current: WorkerProxy | undefined
  /** The worker that takes the place when it is ready. */
  next: WorkerProxy | undefined
  timer: NodeJS.Timeout | undefined
  /** Workers that were started in it. */
  starts: number
  /** Why `next` asked to be replaced before it was ready. */
  nextLeaves: string | undefined
}

/** Keeps a number of worker processes running on each machine, replaces them without a gap, and logs their starts and ends. */
export class WorkerPool implements WorkerObserver {
  /** Why the last lost worker ended. */
  lastLoss = ''
  readonly #settings: PoolSettings
  readonly #logger: Logger
  readonly #owner: PoolOwner
  readonly #machines = new Map<WorkerHost, Machine>()
  readonly #workers = new Map<WorkerProxy, Place>()
  /** Settled when a replaced worker is gone, or stays since the app does not load. */
  readonly #departures = new Map<WorkerProxy, Deferred<void>>()
  /** The counts of threads that are gone. */
  readonly #past = noFigures()
  #closing = false
  #noWorkers: Deferred<void> | undefined

  constructor(settings: PoolSettings, logger: Logger, owner: PoolOwner) {
    this.#settings = settings
    this.#logger = logger
    this.#owner = owner
  }

  get workers(): readonly WorkerProxy[] {
    return [...this.#workers.keys()]
  }

  /** The workers, and what they have reported, all together. */
  get state(): PoolState {
    const sum = { ...this.#past }
    for (const { threads } of this.workers) for (const { figures } of threads) addFigures(sum, figures)
    const workers = Array.from(this.#workers, ([{ state }, { number }]) => ({ ...state, place: number }))
    const places = this.#places.map(({ machine, number, starts }) => {
      return { node: machine.host.name, place: number, restarts: Math.max(0, starts - 1) }
    })
    const inFlight = workers.reduce((total, worker) => total + worker.inFlight, 0)
    return { ...stateOf(sum), inFlight, workers, places }
  }

  /** Keeps workers running on a host. Resolves when each was ready; rejects when one could not load the app. */
  addHost(host: WorkerHost, count: number): Promise<void> {
    const backoff = new Backoff(...BACKOFF)
    const machine: Machine = { host, places: [], filled: deferred(), backoff, loadFailed: false, closed: this.#closing }
    this.#machines.set(host, machine)
    for (let number = 1; number <= count; number++) {
      const place = {
        machine,
        number,
        current: undefined,
        next: undefined,
        timer: undefined,
        starts: 0,
        nextLeaves: undefined,
      }
      machine.places.push(place)
      this.#start(place)
    }
    return machine.filled.promise
  }

  /** Retires the workers of a host and starts no others there. */
  retireHost(host: WorkerHost): void {
    this.removeHost(host)
    for (const [worker, { machine }] of this.#workers) if (machine.host === host) this.#owner.retire(worker)
  }

  /** Removes a lost host; its workers report their ends one by one. */
  removeHost(host: WorkerHost): void {
    const machine = this.#machines.get(host)
    if (machine !== undefined) closeMachine(machine)
    this.#machines.delete(host)
  }

  /** Whether the last workers on a host failed to load the app. */
  isFailing(host: WorkerHost): boolean {
    return this.#machines.get(host)?.backoff.failed === true
  }

  /** Whether a worker of a host is ready. */
  isServing(host: WorkerHost): boolean {
    return this.#machines.get(host)?.places.some(({ current }) => current !== undefined) === true
  }

  /** Replaces every worker; resolves when the present ones are gone. They stay if it rejects with `load_failed`. */
  async reload(): Promise<void> {
    if (this.#closing) throw new Mongrel2Error('closed', 'expected to reload before close, not after')
    const gone = this.#places.map((place) => {
      // A starting worker may have read the old files.
      const { next, current } = place
      place.next = undefined
      // One that has loaded the app may have requests already.
      if (next?.loaded === true) this.#owner.retire(next)
      else if (next !== undefined) {
        next.stopping = true
        next.kill('it is replaced')
      }
      this.#start(place)
      if (current === undefined) return undefined
      const departure = this.#departures.get(current) ?? deferred()
      this.#departures.set(current, departure)
      return departure.promise
    })
    await Promise.all(gone)
  }

  /** Replaces a worker, unless that has begun. A worker that is not ready yet is replaced once it is. */
  replace(worker: WorkerProxy, reason: string): void {
    const place = this.#workers.get(worker)
    if (place?.next === worker) place.nextLeaves ??= reason
    if (place?.current !== worker || place.next !== undefined || place.timer !== undefined) return
    if (place.machine.closed) return
    this.#logger.info?.(`mongrel2-fetch replaces worker ${worker.pid}: ${reason}`)
    publishWorkerEvent({ event: 'replaced', pid: worker.pid, node: worker.node, reason })
    this.#start(place)
  }

  /** Gives a worker its place if it is ready; returns whether that happens now. */
  onReady(worker: WorkerProxy): boolean {
    const place = this.#workers.get(worker)
    if (place?.next !== worker || !worker.ready) return false
    const { machine, current, nextLeaves } = place
    machine.backoff.reset()
    if (machine.loadFailed) {
      this.#logger.warn?.(`mongrel2-fetch loaded the app, which failed before: worker ${worker.pid} serves it`)
    }
    machine.loadFailed = false
    place.current = worker
    place.next = undefined
    if (current !== undefined) this.#owner.retire(current)
    if (machine.places.every((each) => each.current !== undefined)) machine.filled.resolve()
    if (nextLeaves !== undefined) this.replace(worker, nextLeaves)
    return true
  }

  /** Starts no more workers. */
  close(): void {
    this.#closing = true
    for (const machine of this.#machines.values()) closeMachine(machine)
  }

  /** Resolves when every worker is gone. */
  async ended(): Promise<void> {
    if (this.#workers.size === 0) return
    this.#noWorkers ??= deferred()
    await this.#noWorkers.promise
  }

  news(worker: WorkerProxy, news: News): void {
    if (news.news === 'loaded') {
      this.#logger.info?.(`mongrel2-fetch started ${worker.name}`)
      publishWorkerEvent({ event: 'started', pid: worker.pid, node: worker.node })
    } else if (news.news === 'line') {
      const { pid, node } = worker
      this.#logger[news.level]?.(news.line, { worker: pid, ...(node && { node }) })
    } else if (news.news === 'leaving') this.replace(worker, news.reason)
    else if (news.news === 'alive') {
      const { maxRss } = this.#settings
      const thread = worker.threads[news.thread] as ThreadState
      thread.figures = news.figures
      thread.eventLoopDelay = news.eventLoopDelay
      if (maxRss > 0 && news.rss > maxRss) this.replace(worker, `it has ${news.rss} bytes of memory`)
    }
    this.#owner.news?.(worker, news)
  }

  report(worker: WorkerProxy, report: Report): void {
    this.#owner.report?.(worker, report)
  }

  topicMessage(worker: WorkerProxy, frame: Buffer): void {
    this.#owner.topicMessage?.(worker, frame)
  }

  gone(worker: WorkerProxy, reason: string): void {
    const place = this.#workers.get(worker)
    this.#workers.delete(worker)
    for (const { figures } of worker.threads) addCounts(this.#past, figures)
    publishWorkerEvent({ event: worker.stopping ? 'ended' : 'lost', pid: worker.pid, node: worker.node, reason })
    if (worker.stopping) this.#logger.info?.(`mongrel2-fetch ended ${worker.name}`)
    else {
      // Workers often end for the same reason: its details are logged once.
      const [line] = reason.split('\n', 1)
      this.#logger.error?.(`mongrel2-fetch lost ${worker.name}: ${reason === this.lastLoss ? line : reason}`)
      this.lastLoss = reason
    }
    this.#departures.get(worker)?.resolve()
    this.#departures.delete(worker)
    if (place?.current === worker) {
      place.current = undefined
      if (place.next === undefined && place.timer === undefined) this.#start(place)
    } else if (place?.next === worker) {
      place.next = undefined
      if (!worker.loaded) this.#loadFailed(place, reason)
      this.#startLater(place)
    }
    this.#owner.gone?.(worker, reason)
    if (this.#workers.size === 0) this.#noWorkers?.resolve()
  }

  get #places(): Place[] {
    return [...this.#machines.values()].flatMap(({ places }) => places)
  }

  #start(place: Place): void {
    clearTimeout(place.timer)
    place.timer = undefined
    place.nextLeaves = undefined
    const { host, closed } = place.machine
    if (closed) return
    place.starts++
    place.next = new WorkerProxy(this.#settings, host, this)
    this.#workers.set(place.next, place)
  }

  #startLater(place: Place): void {
    const { machine } = place
    if (machine.closed) return
    place.timer = setTimeout(() => this.#start(place), machine.backoff.next())
  }

  #loadFailed({ machine, current }: Place, reason: string): void {
    machine.loadFailed = true
    const error = new Mongrel2Error('load_failed', `a worker could not load the app: ${reason}`)
    machine.filled.reject(error)
    if (current === undefined) return
    this.#departures.get(current)?.reject(error)
    this.#departures.delete(current)
  }
}

function closeMachine(machine: Machine): void {
  machine.closed = true
  machine.filled.reject(new Mongrel2Error('closed', 'the server was closed before its workers were ready'))
  for (const { timer } of machine.places) clearTimeout(timer)
}
