import type { LeftConnections } from '../../connection/closed-connections.ts'
import { deleteUpload } from '../../exchange/upload/upload.ts'
import { type BeginEpoch, Link, type LinkEpoch, type Succession } from '../../link/link.ts'
import type { Publisher, Received } from '../../link/transport.ts'
import { transportOf } from '../../link/transports.ts'
import { RequestAccounts } from '../../operations/request-accounts.ts'
import type { ConnectionState, PlaceState, ServerState, WorkerState } from '../../operations/server-state.ts'
import { overloaded, renderOutcome, workerLost } from '../../platform/outcomes.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { describeError, escapeBytes, type Logger, ThrottledWarning } from '../../runtime/log.ts'
import { type Deferred, deferred, delay } from '../../runtime/promises.ts'
import { MalformedError } from '../../wire/malformed.ts'
import { type Message, renderMessage } from '../../wire/message.ts'
import type { WorkersSettings } from '../options.ts'
import {
  addressTopicFrame,
  type News,
  parseTopicFrame,
  type Report,
  renderDealtHead,
  threadOf,
} from '../protocol/frames.ts'
import type { WorkerHost } from '../protocol/worker-handle.ts'
import { type BalancerOutlet, ConnectionBalancer, type EndStatus } from './connection-balancer.ts'
import { ConnectionCloser } from './connection-closer.ts'
import { type DealtConnection, DealtEpoch, type OpenRequest, type ThreadState, TopicSubscriptions } from './state.ts'
import { type PoolOwner, WorkerPool } from './worker-pool.ts'
import type { WorkerProxy } from './worker-proxy.ts'

/**
 * Time from a worker's report that it is attached to an epoch until that is believed, in milliseconds. If the worker has reached the next epoch
 * of that Mongrel2 already, this process learns the end of the epoch within that time.
 */
const ATTACH_TIME = 25
/** Time for a worker that has not finished in time to close its WebSockets, in milliseconds. */
const FAREWELL = 1000
/** How often to look whether all that was pulled has been dealt, in milliseconds. */
const DEALT_INTERVAL = 10

/** The answers in place of a worker. */
const OUTCOMES = { 502: workerLost(), 503: overloaded() } as const

/** An epoch, and what answers in place of workers that were lost. */
interface ServedEpoch {
  readonly epoch: DealtEpoch
  readonly prefix: string
  /** The name of the epoch on this machine. */
  readonly socketId: string | undefined
  readonly closer: ConnectionCloser
  readonly acceptsMessages: Deferred<void>
  flowControl: boolean
}

/** What `mongrel2-fetch dev` adds. */
interface Development {
  /** Called when a worker replaces another; `broken` tells whether it shows why the app cannot be loaded. */
  ready(broken: boolean): void
  /** Called with each file that the app loads. */
  loaded(path: string): void
  /** Returns the text of a 502 or 503 while no worker serves. */
  explain(reason: string): string
}

/** The state of a dispatcher and of all its workers together. What workers count is what they reported within the last second. */
export interface DispatcherStatistics extends ServerState {
  readonly workers: readonly WorkerState[]
  readonly places: readonly PlaceState[]
}

/** Pulls from every Mongrel2 and deals the messages to worker processes. */
export class Dispatcher implements BalancerOutlet, PoolOwner {
  readonly ready: Promise<void>
  readonly pool: WorkerPool
  readonly #settings: WorkersSettings
  readonly #development: Development | undefined
  readonly #logger: Logger
  readonly #balancer: ConnectionBalancer
  /** This machine. */
  readonly #local: WorkerHost
  readonly #workerOf = new Map<ThreadState, WorkerProxy>()
  readonly #epochs = new Map<number, ServedEpoch>()
  readonly #links: Link[] = []
  /** The connections that the last epoch of each link left open. */
  readonly #left = new Map<number, LeftConnections>()
  readonly #topics = new TopicSubscriptions()
  readonly #warning: ThrottledWarning
  /** What is kept of ended requests. */
  readonly accounts: RequestAccounts
  #malformed = 0
  #closing = false
  #epochCount = 0

  /** @param local This machine. */
  constructor(settings: WorkersSettings, local: WorkerHost, development?: Development) {
    this.#settings = settings
    this.#development = development
    const { endpoints, identity, maxInFlight, maxQueued } = settings.settings
    this.accounts = new RequestAccounts(settings.settings)
    const { logger } = this.accounts
    this.#logger = logger
    this.#warning = new ThrottledWarning(logger)
    this.#balancer = new ConnectionBalancer(maxInFlight, maxQueued, this, this.accounts.observer !== undefined)
    this.pool = new WorkerPool(settings, logger, this)
    this.#local = local
    const filled = this.pool.addHost(local, settings.workers)
    const found = endpoints.map(async (endpoint, number) => {
      const begin: BeginEpoch = (...epoch) => this.#begin(number, ...epoch)
      const link = new Link(endpoint, transportOf(endpoint), identity, logger, begin)
      this.#links.push(link)
      const first = deferred()
      const closed = () =>
        first.reject(new Mongrel2Error('closed', 'the server was closed before Mongrel2 was found at every endpoint'))
      link.run(first.resolve).then(closed, first.reject)
      await first.promise
    })
    this.ready = Promise.all([filled, ...found]).then(() => {})
    this.ready.catch(() => {}) // it may have no listener
  }

  stats(): DispatcherStatistics {
    const { counters, connections, queued } = this.#balancer
    const { state } = this.pool
    return {
      ...state,
      ...this.accounts.state,
      messages: counters.messages,
      malformed: this.#malformed + state.malformed,
      rejected: counters.rejected + state.rejected,
      ignored: counters.ignored + state.ignored,
      queued,
      connections,
      closing: this.#closing,
      links: this.#links.map(({ state }) => state),
    }
  }

  /** The state of each connection. */
  connections(): ConnectionState[] {
    return [...this.#epochs.values()].flatMap(({ epoch: { link, connections } }) => {
      const recvSpec = this.#settings.settings.endpoints[link]?.recvSpec ?? ''
      return Array.from(connections.values(), ({ id, thread, state, waitsFor }) => ({
        connection: id,
        recvSpec,
        state: waitsFor === 'place' ? 'queued' : state === 'waiting' || state === 'answering' ? 'open' : state,
        worker: thread && this.#workerOf.get(thread)?.pid,
      }))
    })
  }

  async close(timeout: number): Promise<void> {
    const until = performance.now() + timeout
    this.#closing = true
    this.pool.close()
    await Promise.all(this.pool.workers.map((worker) => worker.goAway(timeout)))
    await Promise.all(this.#links.map((link) => link.stop()))
    while (this.#balancer.queued > 0 && performance.now() < until) await delay(DEALT_INTERVAL)
    for (const worker of this.pool.workers) this.#stop(worker, Math.max(0, until - performance.now()))
    await this.pool.ended()
    for (const { closer } of this.#epochs.values()) closer.flush()
    await Promise.all(this.#links.map((link) => link.close()))
    await this.accounts.close()
  }

  // For the balancer.

  deal(thread: ThreadState, epoch: DealtEpoch, bytes: Buffer, unwrittenBytes: number): void {
    const worker = this.#workerOf.get(thread)
    if (worker === undefined) return
    const { link, number } = epoch
    worker.send(renderDealtHead({ thread: thread.index, link, epoch: number, unwrittenBytes }))
    worker.send(bytes)
    const { maxRequests } = worker
    if (worker.requests >= maxRequests) this.pool.replace(worker, `it got ${maxRequests} requests`)
  }

  askHandOver(thread: ThreadState, { epoch, id }: DealtConnection): void {
    const { link, number } = epoch
    this.#workerOf.get(thread)?.order({ order: 'handOver', thread: thread.index, link, epoch: number, id })
  }

  end(connection: DealtConnection, status: EndStatus, request?: OpenRequest): void {
    const why = this.pool.isServing(this.#local) ? undefined : this.#development?.explain(this.pool.lastLoss)
    const answer = status && { status, bytes: renderOutcome(OUTCOMES[status], why) }
    this.#epochs.get(connection.epoch.number)?.closer.add(connection, answer?.bytes)
    if (request !== undefined) this.accounts.observeUnserved(request.bytes, request.since, answer)
  }

  ended({ bytes, since }: OpenRequest): void {
    this.accounts.observeUnserved(bytes, since)
  }

  partOfEnded(epoch: DealtEpoch, message: Message): void {
    this.#epochs.get(epoch.number)?.closer.receive(message)
  }

  leftEnded(epoch: DealtEpoch, id: number): void {
    this.#epochs.get(epoch.number)?.closer.left(id)
  }

  deleteUpload(epoch: DealtEpoch, path: string): void {
    const endpoint = this.#settings.settings.endpoints[epoch.link]
    if (endpoint === undefined) return
    deleteUpload(path, endpoint.uploads).catch((error: unknown) =>
      this.#logger.error?.(`mongrel2-fetch: an upload could not be deleted: ${describeError(error)}`),
    )
  }

  emptied(thread: ThreadState): void {
    const worker = this.#workerOf.get(thread)
    if (worker === undefined || worker.connections > 0 || !worker.threads.every(({ retiring }) => retiring)) return
    this.#stop(worker, this.#settings.replaceTimeout)
  }

  // For the pool. `WorkerProxy` has checked the numbers of threads.

  report(worker: WorkerProxy, { thread: index, seen, inFlight, records, ended, lines }: Report): void {
    const thread = worker.threads[index] as ThreadState
    for (const request of ended) {
      this.accounts.add(request)
      const connection = this.#epochs.get(request.epoch)?.epoch.connections.get(request.id)
      if (connection?.thread === thread) connection.request = undefined
    }
    if (lines.length > 0) this.accounts.log(lines)
    for (const { epoch: number, id, report } of records) {
      const served = this.#epochs.get(number)
      if (served !== undefined) this.#balancer.reportConnection(thread, served.epoch, id, report, seen)
    }
    this.#balancer.report(thread, seen, inFlight)
  }

  news(worker: WorkerProxy, news: News): void {
    const thread = worker.threads['thread' in news ? news.thread : 0] as ThreadState
    switch (news.news) {
      case 'loaded':
        if (worker.stopping) return // it is being killed
        for (const served of this.#epochs.values()) this.#announce(served, worker)
        for (const each of worker.threads) {
          this.#workerOf.set(each, worker)
          this.#balancer.add(each)
        }
        return this.#checkReady(worker)
      case 'record':
        return this.accounts.record(news.line)
      case 'file':
        return this.#development?.loaded(news.path)
      case 'attached':
        setTimeout(() => this.#attach(worker, news.epoch), ATTACH_TIME)
        return
      case 'detached':
        return this.#detach(worker, news.epoch)
      case 'flowControl':
        return this.#learnFlowControl(news.epoch)
      case 'handedOver': {
        const served = this.#epochs.get(news.epoch)
        if (served === undefined) return
        return this.#balancer.handedOver(thread, served.epoch, news.id, news.unwrittenBytes)
      }
      case 'ended':
        return this.#removeThread(thread)
      case 'subscribed':
        return this.#topics.subscribe(news.topic, thread)
      case 'unsubscribed':
        this.#topics.unsubscribe(news.topic, thread)
    }
  }

  topicMessage(sender: WorkerProxy, frame: Buffer): void {
    const from = sender.threads[threadOf(frame)] as ThreadState
    for (const thread of this.#topics.others(parseTopicFrame(frame).name, from)) {
      this.#workerOf.get(thread)?.send(addressTopicFrame(frame, thread.index))
    }
  }

  retire(worker: WorkerProxy): void {
    const { replaceTimeout } = this.#settings
    worker.order({ order: 'retire' })
    for (const thread of worker.threads) thread.retiring = true
    for (const thread of worker.threads) this.#balancer.retire(thread)
    // Closed WebSockets let their pages connect to the new code.
    if (this.#development !== undefined) void worker.goAway(replaceTimeout)
    setTimeout(() => {
      void worker.goAway(FAREWELL).then(() => this.#stop(worker, 0))
    }, replaceTimeout).unref()
  }

  gone(worker: WorkerProxy): void {
    for (const thread of worker.threads) {
      this.#removeThread(thread, worker.endedCleanly)
      this.#workerOf.delete(thread)
    }
    for (const { closer } of this.#epochs.values()) closer.flush()
    if (this.pool.isFailing(this.#local))
      for (const { acceptsMessages } of this.#epochs.values()) acceptsMessages.resolve()
  }

  #removeThread(thread: ThreadState, clean?: boolean): void {
    this.#topics.forget(thread)
    this.#balancer.remove(thread, clean)
  }

  #checkReady(worker: WorkerProxy): void {
    if (this.pool.onReady(worker)) this.#development?.ready(worker.broken)
  }

  #begin(
    link: number,
    publisher: Publisher,
    prefix: string,
    socketId: string | undefined,
    succession: Succession,
  ): LinkEpoch {
    const left = succession === 'other' ? undefined : this.#left.get(link)
    const epoch = new DealtEpoch(link, ++this.#epochCount, left)
    const { number } = epoch
    this.#left.set(link, epoch.left)
    const acceptsMessages: Deferred<void> = deferred()
    const closer = new ConnectionCloser(publisher)
    const served: ServedEpoch = { epoch, prefix, socketId, closer, acceptsMessages, flowControl: false }
    this.#epochs.set(number, served)
    this.#balancer.begin(epoch)
    if (succession === 'same') this.#balancer.closeLeft(epoch)
    for (const worker of this.pool.workers) if (worker.loaded) this.#announce(served, worker)
    // Without workers, clients get a 503.
    if (this.pool.isFailing(this.#local)) acceptsMessages.resolve()
    return {
      acceptsMessages: acceptsMessages.promise,
      receive: (message) => this.#receive(epoch, message),
      lost: () => {
        this.#epochs.delete(number)
        closer.lost()
        this.#balancer.end(epoch)
        for (const worker of this.pool.workers) {
          if (!worker.answersTo(link)) continue
          worker.unattached.delete(number)
          worker.order({ order: 'end', link, epoch: number })
          this.#checkReady(worker)
        }
      },
    }
  }

  #receive(epoch: DealtEpoch, message: Received): void {
    const bytes = Buffer.isBuffer(message) ? message : renderMessage(message, 'tnetstring')
    try {
      this.#balancer.receive(epoch, bytes)
    } catch (error) {
      if (error instanceof MalformedError) {
        this.#malformed++
        this.#warning.say(() => `mongrel2-fetch dropped a malformed message, ${error.message}: ${escapeBytes(bytes)}`)
      } else this.#logger.error?.(`mongrel2-fetch: a message could not be dealt: ${describeError(error)}`)
    }
  }

  /** Tells a worker that an epoch has begun. */
  #announce({ epoch: { link, number }, prefix, socketId, flowControl }: ServedEpoch, worker: WorkerProxy): void {
    if (!worker.answersTo(link)) return
    worker.unattached.set(number, 0)
    worker.order({ order: 'begin', link, epoch: number, prefix, socketId, flowControl })
  }

  #attach(worker: WorkerProxy, number: number): void {
    const served = this.#epochs.get(number)
    if (served === undefined || worker.gone) return
    worker.unattached.delete(number)
    for (const thread of worker.threads) this.#balancer.attach(thread, served.epoch)
    served.acceptsMessages.resolve()
    this.#checkReady(worker)
  }

  #detach(worker: WorkerProxy, number: number): void {
    const served = this.#epochs.get(number)
    if (served === undefined) return
    worker.unattached.set(number, 0)
    for (const thread of worker.threads) this.#balancer.detach(thread, served.epoch)
  }

  /** Tells all workers: a connection may come to any of them, and only its first request shows flow control. */
  #learnFlowControl(number: number): void {
    const served = this.#epochs.get(number)
    if (served === undefined || served.flowControl) return
    served.flowControl = true
    for (const worker of this.pool.workers) {
      const { link } = served.epoch
      if (worker.loaded && worker.answersTo(link)) worker.order({ order: 'flowControl', link, epoch: number })
    }
  }

  #stop(worker: WorkerProxy, timeout: number): void {
    if (worker.stopping || worker.gone) return
    for (const thread of worker.threads) {
      thread.retiring = true
      this.#balancer.withdraw(thread)
    }
    worker.stop(timeout)
  }
}
