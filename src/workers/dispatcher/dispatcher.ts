import type { LeftConnections } from '../../connection/closed-connections.ts'
import { addPacings, noPacings, type PacingCounts } from '../../connection/pacing/pacing.ts'
import { deleteUpload } from '../../exchange/upload/upload.ts'
import { type BeginEpoch, Link, type LinkEpoch, type Succession } from '../../link/link.ts'
import type { Publisher } from '../../link/transport.ts'
import { TRANSPORTS } from '../../link/transports.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { describeError, escapeBytes, type Logger, ThrottledWarning } from '../../runtime/log.ts'
import { type Deferred, deferred, delay } from '../../runtime/promises.ts'
import { MalformedError } from '../../wire/malformed.ts'
import type { Message } from '../../wire/message.ts'
import type { WorkersSettings } from '../options.ts'
import { type News, type Report, renderDealtHead } from '../protocol/frames.ts'
import { addressTopicFrame, topicNameOf, topicSlotOf } from '../protocol/topic-frames.ts'
import type { WorkerHost } from '../protocol/worker-handle.ts'
import { Dealing, type DealingOutlet, type EndStatus } from './dealing.ts'
import type { DealtConnection } from './dealt-connection.ts'
import { DealtEpoch } from './dealt-epoch.ts'
import { Endings } from './endings.ts'
import type { ExchangePoint } from './exchange-point.ts'
import { LocalHost } from './local-host.ts'
import { Seats } from './seats.ts'
import type { Slot } from './slot.ts'
import { TopicSubscriptions } from './topic-subscriptions.ts'
import { type WorkerObserver, WorkerProcess } from './worker-process.ts'

/**
 * How long to wait from a worker's word that it has reached a Mongrel2 until it is believed, in milliseconds. If that was the next life
 * already, the end of the one before it has arrived here by then.
 */
const ATTACH_TIME = 25
/** How much longer than its time a worker may take to end, in milliseconds. */
const STOP_GRACE = 2000
/** How long a worker that has not finished in time may take leave of its clients, in milliseconds. */
const FAREWELL = 1000
/** How often it is looked whether all that was pulled has been dealt, in milliseconds. */
const DEALT_INTERVAL = 10

/** A life of a Mongrel2. */
interface Life {
  readonly epoch: DealtEpoch
  readonly prefix: string
  /** What others on this machine know it by. */
  readonly name: string | undefined
  readonly endings: Endings
  readonly willing: Deferred<void>
  flowControl: boolean
}

/** What has been counted, and what is there. */
export interface DispatcherStatistics {
  /** Messages that Mongrel2 sent. */
  messages: number
  /** Requests that got a 503 here, and messages of connections that are closed. */
  rejected: number
  /** Notices of connections that nobody knows (any more). */
  ignored: number
  /** Messages dropped because they were none. */
  malformed: number
  /** Connections that state is kept for, at most what is open. */
  connections: number
  /** Requests that wait for a place. */
  queued: number
  /**
   * How many connections are paced by Mongrel2's credits, by its control port, or by estimate, as the workers said within the last second.
   */
  pacing: PacingCounts
  workers: {
    pid: number
    /** The node that it runs on; empty for this machine. */
    node: string
    /** Whether it gets new connections. */
    state: 'starting' | 'ready' | 'leaving'
    /** Handlers that have not returned. */
    inFlight: number
    connections: number
    /** Requests since its start. */
    requests: number
  }[]
}

/** Pulls from every Mongrel2 and deals the messages to worker processes. */
export class Dispatcher implements DealingOutlet, WorkerObserver {
  readonly ready: Promise<void>
  readonly #settings: WorkersSettings
  readonly #logger: Logger
  readonly #point: ExchangePoint
  readonly #dealing: Dealing
  /** The seats of this machine. */
  readonly #seats: Seats<WorkerProcess>
  /** Those of each machine. */
  readonly #hosts = new Map<WorkerHost, Seats<WorkerProcess>>()
  readonly #workers = new Map<WorkerProcess, Seats<WorkerProcess>>()
  readonly #workerOf = new Map<Slot, WorkerProcess>()
  readonly #lives = new Map<number, Life>()
  readonly #links: Link[] = []
  /** What the last epoch of each link has left open. */
  readonly #left = new Map<number, LeftConnections>()
  readonly #topics = new TopicSubscriptions()
  readonly #warning: ThrottledWarning
  #malformed = 0
  #epochs = 0
  #touched = new Set<WorkerProcess>()
  #turn: NodeJS.Immediate | undefined
  #noWorkers: Deferred<void> | undefined
  #closing = false
  #lossReason = ''

  constructor(settings: WorkersSettings, point: ExchangePoint) {
    this.#settings = settings
    this.#point = point
    const { endpoints, identity, logger, maxInFlight, maxQueued } = settings.settings
    this.#logger = logger
    this.#warning = new ThrottledWarning(logger)
    this.#dealing = new Dealing(maxInFlight, maxQueued, this)
    this.#seats = this.addHost(new LocalHost(settings, point), settings.workers)
    const found = endpoints.map(async (endpoint, number) => {
      const begin: BeginEpoch = (...life) => this.#begin(number, ...life)
      const link = new Link(endpoint, TRANSPORTS[endpoint.link], identity, logger, begin)
      this.#links.push(link)
      const first = deferred()
      link
        .run(first.resolve)
        .then(
          () =>
            first.reject(
              new Mongrel2Error('closed', 'the server was closed before Mongrel2 was found at every endpoint'),
            ),
          first.reject,
        )
      await first.promise
    })
    this.ready = Promise.all([this.#seats.filled, ...found]).then(() => {})
    this.ready.catch(() => {}) // not everybody waits for it
  }

  stats(): DispatcherStatistics {
    const { counters, connections, queued } = this.#dealing
    const workers = [...this.#workers.keys()].map((worker) => ({
      pid: worker.pid,
      node: worker.node,
      state: stateOf(worker),
      inFlight: worker.inFlight,
      connections: worker.connections,
      requests: worker.requests,
    }))
    const pacing = noPacings()
    for (const { slots } of this.#workers.keys()) for (const slot of slots) addPacings(pacing, slot.pacing)
    return { ...counters, malformed: this.#malformed, connections, queued, pacing, workers }
  }

  async reload(): Promise<void> {
    if (this.#closing) throw new Mongrel2Error('closed', 'expected to reload before close, not after')
    await Promise.all([...this.#hosts.values()].map((seats) => seats.reload()))
  }

  /** A machine is there: keeps so many workers running on it. */
  addHost(host: WorkerHost, workers: number): Seats<WorkerProcess> {
    const seats: Seats<WorkerProcess> = new Seats(
      workers,
      {
        start: () => this.#startWorker(host, seats),
        retire: (worker) => this.#retire(worker),
      },
      this.#logger,
    )
    this.#hosts.set(host, seats)
    if (this.#closing) seats.close()
    seats.fill()
    return seats
  }

  /** A machine is to be left: its workers finish what is open and end, and no other is started there. */
  retireHost(host: WorkerHost): void {
    const seats = this.#hosts.get(host)
    this.removeHost(host)
    for (const [worker, its] of this.#workers) if (its === seats) this.#retire(worker)
  }

  /** A machine is lost; of its workers it is told one by one. */
  removeHost(host: WorkerHost): void {
    this.#hosts.get(host)?.close()
    this.#hosts.delete(host)
  }

  async close(timeout: number): Promise<void> {
    this.#closing = true
    const until = performance.now() + timeout
    for (const seats of this.#hosts.values()) seats.close()
    await Promise.all([...this.#workers.keys()].map((worker) => worker.goAway(timeout)))
    await Promise.all(this.#links.map((link) => link.stop()))
    while (this.#dealing.queued > 0 && performance.now() < until) await delay(DEALT_INTERVAL)
    for (const worker of this.#workers.keys()) this.#stop(worker, Math.max(0, until - performance.now()))
    if (this.#workers.size > 0) {
      this.#noWorkers = deferred()
      await this.#noWorkers.promise
    }
    this.#flush()
    await Promise.all(this.#links.map((link) => link.close()))
    this.#point.close()
  }

  // What dealing asks for.

  deal(slot: Slot, epoch: DealtEpoch, bytes: Buffer, balance: number): void {
    const worker = this.#workerOf.get(slot)
    if (worker === undefined) return
    const { link, number } = epoch
    worker.send(renderDealtHead({ slot: slot.index, link, epoch: number, balance }))
    worker.send(bytes)
    this.#touch(worker)
    const { maxRequests } = this.#settings
    if (maxRequests > 0 && worker.requests >= maxRequests) this.#replace(worker, `it got ${maxRequests} requests`)
  }

  askHandOver(slot: Slot, { epoch, id }: DealtConnection): void {
    const worker = this.#workerOf.get(slot)
    if (worker === undefined) return
    worker.order({ order: 'handOver', slot: slot.index, link: epoch.link, epoch: epoch.number, id })
    this.#touch(worker)
  }

  end(connection: DealtConnection, status: EndStatus): void {
    this.#lives.get(connection.epoch.number)?.endings.add(connection, status)
    this.#flushLater()
  }

  partOfEnded(epoch: DealtEpoch, message: Message): void {
    this.#lives.get(epoch.number)?.endings.receive(message)
  }

  leftEnded(epoch: DealtEpoch, id: number): void {
    this.#lives.get(epoch.number)?.endings.left(id)
  }

  deleteUpload(epoch: DealtEpoch, path: string): void {
    const endpoint = this.#settings.settings.endpoints[epoch.link]
    if (endpoint === undefined) return
    deleteUpload(path, endpoint.uploads).catch((error: unknown) =>
      this.#logger.error?.(`mongrel2-fetch: an upload could not be deleted: ${describeError(error)}`),
    )
  }

  emptied(slot: Slot): void {
    const worker = this.#workerOf.get(slot)
    if (worker === undefined || worker.connections > 0 || !worker.slots.every(({ retiring }) => retiring)) return
    this.#stop(worker, this.#settings.replaceTimeout)
  }

  // What workers say.

  report(worker: WorkerProcess, { slot: index, seen, inFlight, records }: Report): void {
    const slot = worker.slots[index]
    if (slot === undefined) return
    for (const { epoch: number, id, report } of records) {
      const life = this.#lives.get(number)
      if (life !== undefined) this.#dealing.reportConnection(slot, life.epoch, id, report, seen)
    }
    this.#dealing.report(slot, seen, inFlight)
  }

  news(worker: WorkerProcess, news: News): void {
    switch (news.news) {
      case 'loaded':
        this.#logger.info?.(`mongrel2-fetch started ${worker.name}`)
        for (const life of this.#lives.values()) this.#tellOf(life, worker)
        for (const slot of worker.slots) this.#dealing.add(slot)
        return this.#settle(worker)
      case 'attached':
        setTimeout(() => this.#attach(worker, news.epoch), ATTACH_TIME)
        return
      case 'detached':
        return this.#detach(worker, news.epoch)
      case 'flowControl':
        return this.#learnFlowControl(news.epoch)
      case 'handedOver': {
        const slot = worker.slots[news.slot]
        const life = this.#lives.get(news.epoch)
        if (slot !== undefined && life !== undefined) {
          this.#dealing.handedOver(slot, life.epoch, news.id, news.balance ?? undefined)
        }
        return
      }
      case 'alive': {
        const slot = worker.slots[news.slot]
        if (slot !== undefined) slot.pacing = news.pacing
        if (this.#settings.maxRss > 0 && news.rss > this.#settings.maxRss) {
          this.#replace(worker, `it has ${news.rss} bytes of memory`)
        }
        return
      }
      case 'ended': {
        const slot = worker.slots[news.slot]
        if (slot !== undefined) this.#removeSlot(slot)
        return this.#flushLater()
      }
      case 'subscribed':
      case 'unsubscribed': {
        const slot = worker.slots[news.slot]
        if (slot === undefined) return
        if (news.news === 'subscribed') this.#topics.subscribe(news.topic, slot)
        else this.#topics.unsubscribe(news.topic, slot)
        return
      }
      case 'line':
        return this.#logger[news.level]?.(news.line)
      case 'failed':
      case 'heard':
        return
      case 'leaving':
        this.#replace(worker, news.reason)
    }
  }

  topicMessage(sender: WorkerProcess, frame: Buffer): void {
    const from = sender.slots[topicSlotOf(frame)]
    if (from === undefined) return
    for (const slot of this.#topics.others(topicNameOf(frame), from)) {
      const worker = this.#workerOf.get(slot)
      if (worker === undefined) continue
      worker.send(addressTopicFrame(frame, slot.index))
      this.#touch(worker)
    }
  }

  gone(worker: WorkerProcess, reason: string): void {
    const seats = this.#workers.get(worker)
    this.#workers.delete(worker)
    for (const slot of worker.slots) {
      this.#removeSlot(slot, worker.endedCleanly)
      this.#workerOf.delete(slot)
    }
    this.#flush()
    if (worker.stopping) this.#logger.info?.(`mongrel2-fetch ended ${worker.name}`)
    else {
      // Workers that end for one reason are lost together, or again and again.
      const [line] = reason.split('\n', 1)
      this.#logger.error?.(`mongrel2-fetch lost ${worker.name}: ${reason === this.#lossReason ? line : reason}`)
      this.#lossReason = reason
    }
    seats?.vacate(worker, reason)
    if (this.#seats.failing) for (const { willing } of this.#lives.values()) willing.resolve()
    if (this.#workers.size === 0) this.#noWorkers?.resolve()
  }

  #startWorker(host: WorkerHost, seats: Seats<WorkerProcess>): WorkerProcess {
    const worker = new WorkerProcess(this.#settings, host, this)
    this.#workers.set(worker, seats)
    for (const slot of worker.slots) this.#workerOf.set(slot, worker)
    return worker
  }

  /** A worker is to be left. */
  #retire(worker: WorkerProcess): void {
    const { replaceTimeout } = this.#settings
    worker.order({ order: 'retire' })
    this.#touch(worker)
    for (const slot of worker.slots) slot.retiring = true
    for (const slot of worker.slots) this.#dealing.retire(slot)
    setTimeout(() => {
      void worker.goAway(FAREWELL).then(() => this.#stop(worker, 0))
    }, replaceTimeout).unref()
  }

  #replace(worker: WorkerProcess, reason: string): void {
    this.#workers.get(worker)?.replace(worker, reason)
  }

  #settle(worker: WorkerProcess): void {
    this.#workers.get(worker)?.settle(worker)
  }

  #removeSlot(slot: Slot, clean?: boolean): void {
    this.#topics.forget(slot)
    this.#dealing.remove(slot, clean)
  }

  #begin(
    link: number,
    publisher: Publisher,
    prefix: string,
    name: string | undefined,
    succession: Succession,
  ): LinkEpoch {
    const left = succession === 'other' ? undefined : this.#left.get(link)
    const epoch = new DealtEpoch(link, ++this.#epochs, left)
    this.#left.set(link, epoch.left)
    const life: Life = { epoch, prefix, name, endings: new Endings(publisher), willing: deferred(), flowControl: false }
    this.#lives.set(epoch.number, life)
    this.#dealing.begin(epoch)
    if (succession === 'same') this.#dealing.closeLeft(epoch)
    for (const worker of this.#workers.keys()) if (worker.loaded) this.#tellOf(life, worker)
    // Where no worker comes up, clients are told so.
    if (this.#seats.failing) life.willing.resolve()
    return {
      willing: life.willing.promise,
      receive: (bytes) => this.#receive(epoch, bytes),
      lost: () => {
        this.#lives.delete(epoch.number)
        life.endings.lost()
        this.#dealing.end(epoch)
        for (const worker of this.#workers.keys()) {
          worker.unattached.delete(epoch.number)
          worker.order({ order: 'end', link, epoch: epoch.number })
          this.#touch(worker)
          this.#settle(worker)
        }
      },
    }
  }

  #receive(epoch: DealtEpoch, bytes: Buffer): void {
    try {
      this.#dealing.receive(epoch, bytes)
    } catch (error) {
      if (error instanceof MalformedError) {
        this.#malformed++
        this.#warning.say(() => `mongrel2-fetch dropped a malformed message, ${error.message}: ${escapeBytes(bytes)}`)
      } else this.#logger.error?.(`mongrel2-fetch: a message could not be dealt: ${describeError(error)}`)
    }
  }

  #tellOf({ epoch, prefix, name, flowControl }: Life, worker: WorkerProcess): void {
    worker.unattached.set(epoch.number, 0)
    worker.order({ order: 'begin', link: epoch.link, epoch: epoch.number, prefix, life: name, flowControl })
    this.#touch(worker)
  }

  #attach(worker: WorkerProcess, number: number): void {
    const life = this.#lives.get(number)
    if (life === undefined || !this.#workers.has(worker)) return
    worker.unattached.delete(number)
    for (const slot of worker.slots) this.#dealing.attach(slot, life.epoch)
    life.willing.resolve()
    this.#settle(worker)
  }

  #detach(worker: WorkerProcess, number: number): void {
    const life = this.#lives.get(number)
    if (life === undefined) return
    worker.unattached.set(number, 0)
    for (const slot of worker.slots) this.#dealing.detach(slot, life.epoch)
    this.#flushLater()
  }

  /** A connection may come to any worker, and only its first request has told. */
  #learnFlowControl(number: number): void {
    const life = this.#lives.get(number)
    if (life === undefined || life.flowControl) return
    life.flowControl = true
    for (const worker of this.#workers.keys()) {
      if (!worker.loaded) continue
      worker.order({ order: 'flowControl', link: life.epoch.link, epoch: number })
      this.#touch(worker)
    }
  }

  #stop(worker: WorkerProcess, timeout: number): void {
    if (worker.stopping || !this.#workers.has(worker)) return
    for (const slot of worker.slots) {
      slot.retiring = true
      this.#dealing.withdraw(slot)
    }
    worker.stop(timeout)
    this.#touch(worker)
    setTimeout(() => worker.kill('it did not end'), timeout + STOP_GRACE).unref()
  }

  #touch(worker: WorkerProcess): void {
    this.#touched.add(worker)
    this.#flushLater()
  }

  #flushLater(): void {
    this.#turn ??= setImmediate(() => this.#flush())
  }

  #flush(): void {
    clearImmediate(this.#turn)
    this.#turn = undefined
    const touched = this.#touched
    this.#touched = new Set()
    for (const worker of touched) worker.flush()
    for (const { endings } of this.#lives.values()) endings.flush()
  }
}

function stateOf(worker: WorkerProcess): 'starting' | 'ready' | 'leaving' {
  const reached = worker.ready || worker.slots.some(({ attached }) => attached.size > 0)
  if (!worker.loaded || !reached) return 'starting'
  return worker.slots.some(({ retiring }) => retiring) ? 'leaving' : 'ready'
}
