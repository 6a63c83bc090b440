import type { ConnectionObserver } from '../../connection/epoch.ts'
import { Epoch } from '../../connection/epoch.ts'
import type { FeedbackSource } from '../../connection/pacing/feedback.ts'
import { addPacings, noPacings } from '../../connection/pacing/pacing.ts'
import { Application } from '../../exchange/application.ts'
import { answerAll, takeLeave } from '../../exchange/closing.ts'
import { Intake } from '../../exchange/intake.ts'
import type { Settings } from '../../exchange/options.ts'
import { type ControlPortAddress, controlPortOf } from '../../link/control-port.ts'
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
  readonly #application: Application
  readonly #intakes: readonly Intake[]
  readonly #epochs = new Map<number, Epoch>()
  #seen = 0
  #before: ReportRecord[] = []
  #after: ReportRecord[] = []
  #timer: NodeJS.Timeout | undefined
  #sweeper: NodeJS.Timeout | undefined

  constructor(settings: Settings, slot: number, uplink: Uplink) {
    this.#settings = settings
    this.#slot = slot
    this.#uplink = uplink
    this.#application = new Application(settings)
    connectTopics({
      subscribe: (topic) => uplink.tell({ news: 'subscribed', slot, topic }),
      unsubscribe: (topic) => uplink.tell({ news: 'unsubscribed', slot, topic }),
      publish: (name, message) => uplink.relay(renderTopicFrame(slot, { name, message })),
    })
    this.#intakes = settings.endpoints.map((endpoint) => new Intake({ ...settings, ...endpoint }, this.#application))
  }

  /** Takes an order of the dispatcher's. */
  obey(order: Order): void {
    switch (order.order) {
      case 'begin':
        return this.#begin(order)
      case 'end':
        return this.lose(order.epoch)
      case 'flowControl':
        return this.#epochs.get(order.epoch)?.assumeFlowControl()
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
        for (const epoch of this.#epochs.values()) epoch.closing.cutAll()
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
    const { malformed } = this.#application.counters
    const { waitingBodies } = this.#application
    this.#epochs.get(epoch)?.receive(bytes, balance)
    // It takes no place, which the dispatcher can give to another.
    if (this.#application.waitingBodies > waitingBodies) this.#report()
    if (this.#application.counters.malformed === malformed) return
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
    await answerAll(this.#application, this.#epochs, delay(timeout))
    clearInterval(this.#sweeper)
    this.#report()
  }

  /** Connections to an epoch's Mongrel2 are lost. */
  lose(number: number): void {
    this.#epochs.get(number)?.lost()
    this.#epochs.delete(number)
  }

  #tellAlive(): void {
    const pacing = noPacings()
    for (const epoch of this.#epochs.values()) addPacings(pacing, epoch.pacing)
    this.#uplink.tell({ news: 'alive', slot: this.#slot, rss: process.memoryUsage.rss(), pacing })
  }

  async #goAway(timeout: number): Promise<void> {
    await takeLeave(this.#epochs, Math.min(timeout, FAREWELL), delay(timeout))
    this.#uplink.tell({ news: 'heard', slot: this.#slot })
  }

  #handOver({ slot, link, epoch, id }: Order & { order: 'handOver' }): void {
    const known = this.#epochs.get(epoch)
    const balance = known === undefined ? 0 : known.handOver(id)
    // What was said of it before has to be heard before.
    this.#report()
    this.#uplink.tell({ news: 'handedOver', slot, link, epoch, id, balance: balance ?? null })
  }

  #begin({ link, epoch: number, prefix, life, flowControl }: Order & { order: 'begin' }): void {
    const endpoint = this.#settings.endpoints[link]
    const intake = this.#intakes[link]
    if (endpoint === undefined || intake === undefined) return
    const { recvSpec } = endpoint
    const address = controlPortOf(endpoint)
    const place = { recvSpec, socketId: life }
    const { counters, waitingBudget } = this.#application
    const epoch = new Epoch(
      this.#publisher(number),
      { ...this.#settings, prefix, flowControl: endpoint.flowControl || flowControl, place },
      {
        intake,
        counters,
        waitingBudget,
        controlPort: address && this.#uplink.feedback(number, address),
        observer: this.#observer(link, number),
      },
    )
    this.#epochs.set(number, epoch)
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
    for (const epoch of this.#epochs.values()) epoch.sweep()
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
    return renderReport({ slot: this.#slot, seen: this.#seen, inFlight: this.#application.unreturned, records })
  }
}
