import { setTimeout as sleep } from 'node:timers/promises'
import type { FeedbackSource } from '../../connection/pacing/feedback.ts'
import { checkOptions, type Settings } from '../../exchange/options.ts'
import type { ControlPortAddress } from '../../link/control-port.ts'
import { ReconnectingPublisher } from '../../link/reconnecting-publisher.ts'
import { TRANSPORTS } from '../../link/transports.ts'
import { ZmtpConnection } from '../../link/zmtp/connection.ts'
import { describeError, type Logger, messageOf } from '../../runtime/log.ts'
import { type Deferred, deferred, delay } from '../../runtime/promises.ts'
import { renderMultipart } from '../../wire/zmtp/frame.ts'
import {
  type DealtHead,
  isDealtHead,
  type News,
  type Order,
  parseDealtHead,
  parseOrder,
  renderJson,
} from '../protocol/frames.ts'
import { isTopicFrame, topicSlotOf } from '../protocol/topic-frames.ts'
import { loadSettings, reasonOf, type WorkerConfig } from './config.ts'
import { Core, type Uplink } from './core.ts'
import { distantLogger } from './distant-logger.ts'
import { closesOf, type Emission } from './emission.ts'
import { SharedControlPort } from './shared-control-port.ts'
import { ThreadSlot } from './thread-slot.ts'

/** How long replies may still be delivered at the end, in milliseconds. */
const LINGER = 5000
/** How long what is open may take when the dispatcher is gone, in milliseconds. */
const ORPHAN_TIMEOUT = 10_000
/** How long a report may wait for another to go with, in milliseconds. */
const REPORT_DELAY = 1

/**
 * How long one that was cut off waits before it closes what is open, in milliseconds: by then the dispatcher, which can say more than a
 * close does, has done so if it is there.
 */
const CUT_DELAY = 500

/** How long it may take until a process whose parent has closed its sockets has another parent, in milliseconds. */
const PARENT_DELAY = 500

/** What waits for its turn. */
interface Held {
  act(): void
  /** Frames that the dispatcher must have been told before. */
  readonly after: number
}

/** A slot, wherever it runs. */
interface SlotHandle {
  take(head: DealtHead, message: Buffer): void
  takeTopicMessage(frame: Buffer): void
  obey(order: Order): void
  lose(epoch: number): void
  stop(timeout: number): Promise<void>
}

/**
 * The main thread of a worker process: it has all sockets, a DEALER that messages come by, a PUSH that reports go by and a publishing
 * half for each Mongrel2, and passes frames to the slots, which are threads or itself.
 *
 * The dispatcher never writes to the PUSH, so it reads all that was written before it finds out that this process is gone. That is
 * why a report counts as told as soon as the system has taken it, and why no byte of an answer goes out before that. A dispatcher on
 * another machine may lose what is on its way, so it has to confirm.
 */
export class Hub {
  /** Resolves when everything has been said and the process can end. */
  readonly ended: Promise<void>
  readonly logger: Logger
  readonly #config: WorkerConfig
  readonly #settings: Settings
  readonly #slots: SlotHandle[] = []
  readonly #attachments = new Map<number, ReconnectingPublisher>()
  readonly #controlPorts = new Map<number, SharedControlPort>()
  readonly #dealer: ZmtpConnection
  readonly #reports: ZmtpConnection
  readonly #ended: Deferred<void> = deferred()
  /** What waits until the dispatcher has been told what was said before. */
  #held: Held[] = []
  /** Resolves when nothing waits so any more. */
  #released: Deferred<void> | undefined
  readonly #remote: boolean
  /** Frames that were said, and those that the dispatcher has confirmed, where it is on another machine. */
  #said = 0
  #confirmed = 0
  /** Reports of what has been published and taken, which wait for others to go with. */
  #told: Buffer[] = []
  #timer: NodeJS.Timeout | undefined
  /** Whose message the next frame is. */
  #head: DealtHead | undefined
  /** Resolves when all that was published so far has been taken. */
  #taken: Promise<void> = Promise.resolve()
  #stopping = false
  /** Whether nobody is left to report to. */
  #orphan = false
  /** Whether the dispatcher has given up what is open: no byte of an answer may go out any more. */
  #cutOff = false
  /** The connections that have been closed instead of answered since then, as `EPOCH ID`. */
  #closedOnes: Set<string> | undefined

  constructor(config: WorkerConfig) {
    this.ended = this.#ended.promise
    this.logger = distantLogger(config.logLevels, (news) => this.#tell(news))
    this.#config = config
    // For the sockets; what handlers run by comes with the app.
    this.#settings = checkOptions(() => new Response(), config.options)
    this.#remote = config.remote
    const report = (error: unknown) =>
      console.error(`mongrel2-fetch: a worker's socket to the dispatcher failed: ${describeError(error)}`)
    const receive = (frame: Buffer) => this.#take(frame)
    this.#dealer = new ZmtpConnection(
      config.dealSpec,
      config.identity,
      { socketType: 'DEALER', peers: ['ROUTER'], receive, heartbeats: false },
      report,
    )
    this.#reports = new ZmtpConnection(
      config.reportSpec,
      config.identity,
      { socketType: 'PUSH', peers: ['PULL'], receive: () => {}, heartbeats: false },
      report,
    )
  }

  /** Sets up the slots and says so; false when the dispatcher cannot be reached, or the app not loaded, which the dispatcher has been told. */
  async start(): Promise<boolean> {
    try {
      await Promise.all([this.#dealer.opened.promise, this.#reports.opened.promise])
    } catch (error) {
      await this.#reportUnreachable(error)
      return false
    }
    // Without a dispatcher nothing more will come; what is open is answered all the same.
    void Promise.race([this.#dealer.closed, this.#reports.closed]).then(() => this.#orphaned())
    try {
      await this.#load()
    } catch (error) {
      this.#stopping = true
      this.#tell({ news: 'failed', reason: reasonOf(error) })
      this.#reports.end(LINGER)
      await this.#reports.closed
      return false
    }
    this.#tell({ news: 'loaded' })
    return true
  }

  /** Says that the dispatcher cannot be reached, unless the dispatcher has ended: that needs no line. */
  async #reportUnreachable(error: unknown): Promise<void> {
    // The system closes the sockets of a process before it gives its children another parent.
    await sleep(PARENT_DELAY)
    if (process.ppid !== this.#config.parent) return
    console.error(`mongrel2-fetch: worker ${process.pid} could not connect to the dispatcher: ${messageOf(error)}`)
  }

  async #load(): Promise<void> {
    const { threads: count } = this.#config
    if (count <= 1) {
      this.#slots.push(new Core(await loadSettings(this.#config, this.logger), 0, this.#uplink()))
      return
    }
    const threads = Array.from({ length: count }, (_, slot) => this.#startThread(slot))
    this.#slots.push(...threads)
    await Promise.all(threads.map((thread) => thread.loaded))
  }

  /** Asks to be replaced. */
  leave(reason: string): void {
    this.#tell({ news: 'leaving', reason })
  }

  #startThread(slot: number): ThreadSlot {
    return new ThreadSlot(this.#config, slot, this.#uplink(), (error) => {
      if (this.#stopping) return
      this.logger.error?.(`mongrel2-fetch: a handler thread ended: ${describeError(error)}`)
      this.#tell({ news: 'ended', slot })
      this.leave('a handler thread ended')
    })
  }

  #take(frame: Buffer): void {
    // If the next request is the last of this process, those before it have been answered.
    if (this.#told.length > 0) this.#write()
    const head = this.#head
    this.#head = undefined
    if (head !== undefined) this.#slots[head.slot]?.take(head, frame)
    else if (isDealtHead(frame)) this.#head = parseDealtHead(frame)
    else if (isTopicFrame(frame)) this.#slots[topicSlotOf(frame)]?.takeTopicMessage(frame)
    else this.#obey(parseOrder(frame))
  }

  #obey(order: Order): void {
    if (order.order === 'stop') return void this.#stop(order.timeout)
    if (order.order === 'cut') return void this.#cut()
    if (order.order === 'told') {
      this.#confirmed = order.frames
      return this.#written()
    }
    if (order.order === 'handOver') return this.#slots[order.slot]?.obey(order)
    if (order.order === 'end') this.#detach(order.epoch)
    for (const slot of this.#slots) slot.obey(order)
    if (order.order === 'begin') this.#attach(order)
  }

  #attach(begin: Order & { order: 'begin' }): void {
    const { link, epoch } = begin
    const endpoint = this.#settings.endpoints[link]
    if (endpoint === undefined) return
    let before = false
    const { identity } = this.#settings
    const attachment = new ReconnectingPublisher(
      TRANSPORTS[endpoint.link],
      endpoint.recvSpec,
      identity,
      this.logger,
      (attached) => {
        if (!attached) for (const slot of this.#slots) slot.lose(epoch)
        else if (before) for (const slot of this.#slots) slot.obey(begin)
        before = true
        this.#tell({ news: attached ? 'attached' : 'detached', link, epoch })
      },
    )
    this.#attachments.set(epoch, attachment)
  }

  #detach(epoch: number): void {
    this.#attachments.get(epoch)?.end()
    this.#attachments.delete(epoch)
    this.#controlPorts.get(epoch)?.close()
    this.#controlPorts.delete(epoch)
  }

  #uplink(): Uplink {
    return {
      emit: (emission) => this.#emit(emission),
      tell: (news) => this.#tell(news),
      relay: (frame) => this.#write(frame),
      isFull: (epoch) => this.#attachments.get(epoch)?.publisher?.full ?? false,
      drained: async (epoch) => await this.#attachments.get(epoch)?.publisher?.drained(),
      feedback: (epoch, address) => this.#controlPort(epoch, address),
    }
  }

  #controlPort(epoch: number, address: ControlPortAddress): FeedbackSource {
    const known = this.#controlPorts.get(epoch) ?? new SharedControlPort(address)
    this.#controlPorts.set(epoch, known)
    return { address, bytesWritten: () => known.bytesWritten(), close: () => {} }
  }

  #emit({ before, publication, after }: Emission): void {
    if (before !== undefined) this.#write(before)
    const act = () => {
      if (publication !== undefined) {
        const replies = this.#closedOnes === undefined ? publication.replies : closesOf(publication, this.#closedOnes)
        if (replies.length > 0) this.#attachments.get(publication.epoch)?.publisher?.publish([...replies])
      }
      if (after !== undefined) this.#writeWhenTaken(after)
    }
    this.#inOrder({ act, after: before === undefined ? 0 : this.#said })
  }

  #tell(news: News): void {
    const frame = renderJson(news)
    // Another slot answers next on that connection: what was published here has to be on its way.
    if (news.news === 'handedOver') this.#inOrder({ act: () => this.#writeWhenTaken(frame), after: 0 })
    else this.#write(frame)
  }

  /** Acts at once, or when the dispatcher has been told what it has to know before. */
  #inOrder(held: Held): void {
    if (this.#held.length === 0 && this.#isTold(held.after)) held.act()
    else this.#held.push(held)
  }

  /** Whether the dispatcher has been told so many frames; of this machine, it has when the system has taken them all. */
  #isTold(frames: number): boolean {
    if (this.#cutOff) return false
    if (this.#orphan) return true
    return this.#remote ? this.#confirmed >= frames : this.#reports.waitingBytes === 0
  }

  readonly #written = (): void => {
    for (let [first] = this.#held; first !== undefined && this.#isTold(first.after); [first] = this.#held) {
      this.#held.shift()
      first.act()
    }
    if (this.#held.length === 0) this.#released?.resolve()
  }

  #orphaned(): void {
    if (this.#remote) return void this.#cut()
    this.#orphan = true
    this.#written()
    void this.#stop(ORPHAN_TIMEOUT)
  }

  /**
   * Ends without an answer. The dispatcher answers in our place, if it is there; if not, closing is all that can be done, since it may
   * have begun to.
   */
  async #cut(): Promise<void> {
    if (this.#cutOff || this.#orphan) return
    this.#cutOff = true
    await delay(CUT_DELAY)
    this.#closedOnes = new Set()
    this.#cutOff = false
    this.#orphan = true
    this.#written()
    for (const slot of this.#slots) slot.obey({ order: 'cut' })
    await this.#stop(0)
  }

  #writeWhenTaken(frame: Buffer): void {
    this.#taken = this.#taken
      .then(() => this.#allTaken())
      .then(() => {
        this.#told.push(frame)
        this.#timer ??= setTimeout(() => this.#write(), REPORT_DELAY)
      })
  }

  async #allTaken(): Promise<void> {
    for (const { publisher } of this.#attachments.values()) await publisher?.drained()
  }

  #write(frame?: Buffer): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const frames = this.#told
    this.#told = []
    if (frame !== undefined) frames.push(frame)
    this.#said += frames.length
    if (frames.length > 0) this.#reports.write(renderMultipart(frames), this.#written)
  }

  async #stop(timeout: number): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    await Promise.all(this.#slots.map((slot) => slot.stop(timeout)))
    if (this.#held.length > 0) {
      this.#released = deferred()
      await this.#released.promise
    }
    await this.#taken
    await Promise.all([...this.#attachments.values()].map((attachment) => attachment.close()))
    this.#write()
    this.#reports.end(LINGER)
    await this.#reports.closed
    this.#ended.resolve()
  }
}
