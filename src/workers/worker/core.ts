import type { ConnectionObserver } from '../../connection/epoch.ts'
import type { FeedbackSource } from '../../connection/pacing/feedback.ts'
import { AppServer } from '../../exchange/app-server.ts'
import type { Settings } from '../../exchange/options.ts'
import type { ControlPortAddress } from '../../link/control-port.ts'
import type { Publisher } from '../../link/transport.ts'
import { delay } from '../../runtime/promises.ts'
import { connectTopics, deliverHere } from '../../topic/named-topics.ts'
import { parseEnvelope } from '../../wire/message.ts'
import type { ConnectionReport } from '../dispatcher/dealing.ts'
import { type DealtHead, type News, type Order, type ReportRecord, renderReport } from '../protocol/frames.ts'
import { parseTopicFrame, renderTopicFrame } from '../protocol/topic-frames.ts'
import type { Emission } from './emission.ts'

/** How often connections are forgotten when the slot is to be left, in milliseconds. */
const RETIRING_SWEEP = 20
/** How long the clients of WebSockets may take to answer a close, in milliseconds. */
const FAREWELL = 1000
/** How long a report may wait for replies to go with, in milliseconds. */
const REPORT_DELAY = 1

/** Where a slot's replies and reports go: the main thread's sockets. */
export interface Uplink {
  emit(emission: Emission): void
  tell(news: News): void
  /** Passes on a message of a topic with a name. */
  relay(frame: Buffer): void
  /** Whether more waits for an epoch's Mongrel2 than is good. */
  isFull(epoch: number): boolean
  drained(epoch: number): Promise<void>
  /** Asks a link's control port. */
  feedback(epoch: number, address: ControlPortAddress): FeedbackSource
}

/**
 * A slot: where handlers run. It is a server without links: messages come from the dispatcher, and what becomes of their connections
 * is reported to it.
 */
export class Core {
  readonly #settings: Settings
  readonly #slot: number
  readonly #uplink: Uplink
  readonly #app: AppServer<number>
  #seen = 0
  #before: ReportRecord[] = []
  #after: ReportRecord[] = []
  #timer: NodeJS.Timeout | undefined
  #sweeper: NodeJS.Timeout | undefined

  constructor(settings: Settings, slot: number, uplink: Uplink) {
    this.#settings = settings
    this.#slot = slot
    this.#uplink = uplink
    this.#app = new AppServer(settings)
    connectTopics({
      subscribe: (topic) => uplink.tell({ news: 'subscribed', slot, topic }),
      unsubscribe: (topic) => uplink.tell({ news: 'unsubscribed', slot, topic }),
      publish: (name, message) => uplink.relay(renderTopicFrame(slot, { name, message })),
    })
  }

  /** Takes an order of the dispatcher's. */
  obey(order: Order): void {
    switch (order.order) {
      case 'begin':
        return this.#begin(order)
      case 'end':
        return this.lose(order.epoch)
      case 'flowControl':
        return this.#app.epochs.get(order.epoch)?.assumeFlowControl()
      case 'handOver':
        return this.#handOver(order)
      case 'ping':
        this.#report()
        return this.#tellAlive()
      case 'retire':
        this.#sweeper ??= setInterval(() => this.#sweep(), RETIRING_SWEEP)
        return this.#sweep()
      case 'goAway':
        void this.#goAway(order.timeout)
        return
      case 'cut':
        for (const epoch of this.#app.epochs.values()) epoch.closing.cutAll()
        return
      case 'told':
      case 'stop':
    }
  }

  /** Takes a message that the dispatcher has dealt. */
  take({ link, epoch, balance }: DealtHead, bytes: Buffer): void {
    // What waits to be reported holds without this message, which may be of a connection that has just been forgotten.
    if (this.#after.length > 0) this.#report()
    this.#seen++
    const { application } = this.#app
    const { waitingBodies } = application
    const { malformed } = application.counters
    this.#app.epochs.get(epoch)?.receive(bytes, balance)
    // It takes no place, which the dispatcher can give to another.
    if (application.waitingBodies > waitingBodies) this.#report()
    if (application.counters.malformed === malformed) return
    // Nothing comes of it; the dispatcher has not looked that closely.
    this.#after.push({ link, epoch, id: parseEnvelope(bytes).connectionId, report: 'forgotten' })
    this.#report()
  }

  /** Takes a message of a topic that another slot has sent. */
  takeTopicMessage(frame: Buffer): void {
    const { name, message } = parseTopicFrame(frame)
    deliverHere(name, message)
  }

  /** Answers what is open; what takes longer than so many milliseconds is aborted. */
  async stop(timeout: number): Promise<void> {
    await this.#app.answerAll(delay(timeout))
    clearInterval(this.#sweeper)
    this.#report()
  }

  /** Connections to an epoch's Mongrel2 are lost. */
  lose(number: number): void {
    this.#app.epochs.get(number)?.lost()
    this.#app.epochs.delete(number)
  }

  #tellAlive(): void {
    const { pacing } = this.#app
    this.#uplink.tell({ news: 'alive', slot: this.#slot, rss: process.memoryUsage.rss(), pacing })
  }

  async #goAway(timeout: number): Promise<void> {
    await this.#app.goAway(Math.min(timeout, FAREWELL), delay(timeout))
    this.#uplink.tell({ news: 'heard', slot: this.#slot })
  }

  #handOver({ slot, link, epoch, id }: Order & { order: 'handOver' }): void {
    const known = this.#app.epochs.get(epoch)
    const balance = known === undefined ? 0 : known.handOver(id)
    // What was said of it before has to be heard before.
    this.#report()
    this.#uplink.tell({ news: 'handedOver', slot, link, epoch, id, balance: balance ?? null })
  }

  #begin({ link, epoch, prefix, life, flowControl }: Order & { order: 'begin' }): void {
    const endpoint = this.#settings.endpoints[link]
    if (endpoint === undefined) return
    const publisher = this.#publisher(epoch)
    const observer = this.#observer(link, epoch)
    const feedback = (address: ControlPortAddress) => this.#uplink.feedback(epoch, address)
    this.#app.begin(epoch, endpoint, { publisher, prefix, socketId: life, flowControl, observer, feedback })
  }

  #publisher(epoch: number): Publisher {
    const uplink = this.#uplink
    return {
      get full() {
        return uplink.isFull(epoch)
      },
      drained: () => uplink.drained(epoch),
      publish: (replies) => this.#emit({ epoch, replies }),
    }
  }

  #observer(link: number, epoch: number): ConnectionObserver {
    const after = (id: number, report: ConnectionReport) => {
      this.#after.push({ link, epoch, id, report })
      this.#timer ??= setTimeout(() => this.#report(), REPORT_DELAY)
    }
    return {
      answering: (id) => this.#before.push({ link, epoch, id, report: 'answering' }),
      idle: (id) => after(id, 'idle'),
      // Its client is not to get a 502 from now on, whatever becomes of this process.
      deferred: (id) => {
        this.#before.push({ link, epoch, id, report: 'deferred' })
        this.#report()
      },
      closed: (id) => after(id, 'closed'),
      forgotten: (id) => after(id, 'forgotten'),
      flowControl: () => this.#uplink.tell({ news: 'flowControl', link, epoch }),
    }
  }

  #sweep(): void {
    for (const epoch of this.#app.epochs.values()) epoch.sweep()
    this.#report()
  }

  /** Reports what has not been reported, and how much there is to do. */
  #report(): void {
    this.#emit(undefined)
  }

  #emit(publication: Emission['publication']): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const before = this.#before
    const after = this.#after
    this.#before = []
    this.#after = []
    this.#uplink.emit({
      before: before.length > 0 ? this.#render(before) : undefined,
      publication,
      after: after.length > 0 || publication === undefined ? this.#render(after) : undefined,
    })
  }

  #render(records: readonly ReportRecord[]): Buffer {
    return renderReport({ slot: this.#slot, seen: this.#seen, inFlight: this.#app.application.unreturned, records })
  }
}
