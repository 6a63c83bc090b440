import type { ConnectionObserver } from '../../connection/epoch.ts'
import type { FeedbackSource } from '../../connection/pacing/feedback.ts'
import { AppServer } from '../../exchange/app-server.ts'
import type { Settings } from '../../exchange/options.ts'
import type { ControlPortAddress } from '../../link/control-port.ts'
import type { Publisher } from '../../link/transport.ts'
import { EventLoopDelay } from '../../operations/event-loop.ts'
import { type Deferred, deferred, delay } from '../../runtime/promises.ts'
import { connectTopics, deliverHere } from '../../topic/named-topics.ts'
import { parseEnvelope } from '../../wire/message.ts'
import { closeReply, parseReply, type Reply } from '../../wire/reply.ts'
import {
  type ConnectionReport,
  type DealtHead,
  isDealtHead,
  isTopicFrame,
  type News,
  type Order,
  parseDealtHead,
  parseOrder,
  parseTopicFrame,
  type ReportRecord,
  renderJson,
  renderReport,
  renderTopicFrame,
} from '../protocol/frames.ts'
import { EndedRequests } from './ended-requests.ts'

/** Interval of sweeps for idle connections while the thread retires, in milliseconds. */
const RETIRING_SWEEP = 20
/** Time for the clients of WebSockets to answer a close, in milliseconds. */
const FAREWELL = 1000
/** Time that a report may wait for replies to go with, in milliseconds. */
const REPORT_DELAY = 1

/** Replies of one turn to one epoch. */
interface Publication {
  readonly epoch: number
  readonly replies: readonly Reply[]
}

/** What a handler thread publishes, and its reports of that. */
export interface ReportedPublication {
  /** The frame that the dispatcher must have first. */
  readonly before: Buffer | undefined
  readonly publication: Publication | undefined
  /** The frame to send when the system has taken the replies, so that they are not lost with this process. */
  readonly after: Buffer | undefined
}

/** Where the replies and reports of a handler thread go: the main thread's pipe and sockets. */
export interface Uplink {
  publish(publication: ReportedPublication): void
  /** Sends a frame to the dispatcher. */
  send(frame: Buffer): void
  /** Whether streams should wait, since many bytes wait for the Mongrel2 of an epoch. */
  isFull(epoch: number): boolean
  drained(epoch: number): Promise<void>
  /** The control port of an epoch's link. */
  feedback(epoch: number, address: ControlPortAddress): FeedbackSource
}

/** The server of a handler thread. It has no links: it gets messages from the dispatcher, and reports the state of their connections to it. */
export class WorkerServer {
  readonly #stopped: Deferred<void> = deferred()
  /** Resolves when it has followed the order to stop. */
  readonly stopped: Promise<void> = this.#stopped.promise
  readonly #settings: Settings
  readonly #thread: number
  readonly #uplink: Uplink
  readonly #app: AppServer<number>
  readonly #delay: EventLoopDelay | undefined
  /** The head of the message that is the next frame. */
  #head: DealtHead | undefined
  #seen = 0
  #before: ReportRecord[] = []
  #after: ReportRecord[] = []
  /** Reported before the replies that end them: what the dispatcher does not know has not been answered. */
  readonly #ended: EndedRequests
  #timer: NodeJS.Timeout | undefined
  #sweeper: NodeJS.Timeout | undefined

  constructor(settings: Settings, thread: number, uplink: Uplink) {
    this.#settings = settings
    this.#thread = thread
    this.#uplink = uplink
    this.#app = new AppServer(settings)
    this.#ended = new EndedRequests(
      settings,
      (news) => this.#tell(news),
      () => {
        this.#timer ??= setTimeout(() => this.#report(), REPORT_DELAY)
      },
    )
    if (settings.metrics) this.#delay = new EventLoopDelay()
    connectTopics({
      subscribe: (topic) => this.#tell({ news: 'subscribed', thread, topic }),
      unsubscribe: (topic) => this.#tell({ news: 'unsubscribed', thread, topic }),
      publish: (name, message) => uplink.send(renderTopicFrame(thread, { name, message })),
    })
  }

  /** Takes a frame of the dispatcher's. */
  receive(frame: Buffer): void {
    const head = this.#head
    this.#head = undefined
    if (head !== undefined) this.#take(head, frame)
    else if (isDealtHead(frame)) this.#head = parseDealtHead(frame)
    else if (isTopicFrame(frame)) {
      const { name, message } = parseTopicFrame(frame)
      deliverHere(name, message)
    } else this.#obey(parseOrder(frame))
  }

  #obey(order: Order): void {
    switch (order.order) {
      case 'begin':
        return this.#begin(order)
      case 'end':
        this.#app.epochs.get(order.epoch)?.lost()
        this.#app.epochs.delete(order.epoch)
        return
      case 'flowControl':
        return this.#app.epochs.get(order.epoch)?.assumeFlowControl()
      case 'handOver':
        return this.#handOver(order)
      case 'ping':
        this.#report()
        return this.#tell({
          news: 'alive',
          thread: this.#thread,
          rss: process.memoryUsage.rss(),
          figures: this.#app.figures,
          eventLoopDelay: this.#delay?.take() ?? 0,
        })
      case 'retire':
        this.#sweeper ??= setInterval(() => this.#sweep(), RETIRING_SWEEP)
        return this.#sweep()
      case 'goAway':
        void this.#goAway(order.timeout)
        return
      case 'cut':
        for (const epoch of this.#app.epochs.values()) epoch.closing.cutAll()
        return
      case 'stop':
        void this.#stop(order.timeout).then(this.#stopped.resolve)
        return
      case 'confirm':
    }
  }

  #take({ link, epoch, unwrittenBytes }: DealtHead, bytes: Buffer): void {
    // Waiting reports do not count this message, whose connection may just have been forgotten.
    if (this.#after.length > 0) this.#report()
    this.#seen++
    const { application } = this.#app
    const { waitingBodies } = application.admission
    const { malformed } = application.counters
    this.#app.epochs.get(epoch)?.receive(bytes, unwrittenBytes)
    // A request that waits for its body does not count as in flight.
    if (application.admission.waitingBodies > waitingBodies) this.#report()
    if (application.counters.malformed === malformed) return
    // The dispatcher has not parsed the headers of a malformed message.
    this.#after.push({ link, epoch, id: parseEnvelope(bytes).connectionId, report: 'forgotten' })
    this.#report()
  }

  /** Answers open requests, and aborts them after a time in milliseconds. */
  async #stop(timeout: number): Promise<void> {
    await this.#app.answerAll(delay(timeout))
    clearInterval(this.#sweeper)
    this.#report()
  }

  #tell(news: News): void {
    this.#uplink.send(renderJson(news))
  }

  async #goAway(timeout: number): Promise<void> {
    await this.#app.goAway(Math.min(timeout, FAREWELL), delay(timeout))
    this.#tell({ news: 'inputDrained', thread: this.#thread })
  }

  #handOver({ thread, link, epoch, id }: Order & { order: 'handOver' }): void {
    const known = this.#app.epochs.get(epoch)
    const unwrittenBytes = known === undefined ? 0 : known.handOver(id)
    // The dispatcher must have earlier reports of the connection first.
    this.#report()
    // Another thread answers next on the connection, so the replies of this one go first.
    const after = renderJson({ news: 'handedOver', thread, link, epoch, id, unwrittenBytes })
    this.#uplink.publish({ before: undefined, publication: undefined, after })
  }

  #begin({ link, epoch, prefix, socketId, flowControl }: Order & { order: 'begin' }): void {
    const endpoint = this.#settings.endpoints[link]
    if (endpoint === undefined) return
    const publisher = this.#publisher(epoch)
    const observer = this.#observer(link, epoch)
    const requests = this.#ended.observerOf(link, epoch)
    const feedback = (address: ControlPortAddress) => this.#uplink.feedback(epoch, address)
    this.#app.begin(epoch, endpoint, { publisher, prefix, socketId, flowControl, observer, requests, feedback })
  }

  #publisher(epoch: number): Publisher {
    const uplink = this.#uplink
    return {
      get full() {
        return uplink.isFull(epoch)
      },
      drained: () => uplink.drained(epoch),
      publish: (replies) => this.#report({ epoch, replies }),
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
      // Reported at once: from now on the dispatcher must not answer in this worker's place.
      deferred: (id) => {
        this.#before.push({ link, epoch, id, report: 'deferred' })
        this.#report()
      },
      closed: (id) => after(id, 'closed'),
      forgotten: (id) => after(id, 'forgotten'),
      flowControl: () => this.#tell({ news: 'flowControl', link, epoch }),
    }
  }

  #sweep(): void {
    for (const epoch of this.#app.epochs.values()) epoch.sweep()
    this.#report()
  }

  /** Sends the waiting reports, with the replies of a publication; without one, also the number of requests in flight. */
  #report(publication?: Publication): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const before = this.#before
    const after = this.#after
    this.#before = []
    this.#after = []
    this.#uplink.publish({
      before: before.length > 0 || this.#ended.waiting ? this.#render(before) : undefined,
      publication,
      after: after.length > 0 || publication === undefined ? this.#render(after) : undefined,
    })
  }

  #render(records: readonly ReportRecord[]): Buffer {
    const inFlight = this.#app.application.admission.load
    return renderReport({ thread: this.#thread, seen: this.#seen, inFlight, records, ...this.#ended.take() })
  }
}

/**
 * Renders replies that close connections in place of replies with content, once for each (`closed`, as `EPOCH ID`): until
 * a dispatcher pulls again, one reply to a connection that is gone delays all that follow.
 */
export function closeInstead({ epoch, replies }: Publication, closed: Set<string>): Reply[] {
  return replies.flatMap((reply) => {
    // Our own replies need no bound on connections.
    const { sender, connectionIds, content } = parseReply(reply, Number.POSITIVE_INFINITY)
    if ('control' in content) return []
    const open = connectionIds.filter((id) => !closed.has(`${epoch} ${id}`))
    for (const id of open) closed.add(`${epoch} ${id}`)
    return open.length > 0 ? [closeReply(sender, open)] : []
  })
}
