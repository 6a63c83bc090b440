import type { FeedbackSource } from '../../connection/pacing/feedback.ts'
import { checkOptions, type Settings } from '../../exchange/options.ts'
import { ControlPort, type ControlPortAddress } from '../../link/control-port.ts'
import { ReconnectingPublisher } from '../../link/reconnecting-publisher.ts'
import { TRANSPORTS } from '../../link/transports.ts'
import { describeError, type Logger } from '../../runtime/log.ts'
import { type Deferred, deferred, delay } from '../../runtime/promises.ts'
import type { FramePipe } from '../protocol/frame-pipe.ts'
import {
  isDealtHead,
  isTopicFrame,
  type News,
  type Order,
  parseOrder,
  renderJson,
  threadOf,
} from '../protocol/frames.ts'
import { openPipes, parentLogger, reportApp } from './parent.ts'
import { shareFeedback } from './shared-feedback.ts'
import { ThreadHandle } from './thread-handle.ts'
import { loadSettings, reasonOf, type WorkerConfig } from './worker-config.ts'
import { closeInstead, type ReportedPublication, type Uplink, WorkerServer } from './worker-server.ts'

/** Time to deliver replies and reports at the end, in milliseconds. */
const LINGER = 5000
/** Time to finish open requests after losing the dispatcher, in milliseconds. */
const ORPHAN_TIMEOUT = 10_000
/** Time that a report may wait for another to go with, in milliseconds. */
const REPORT_DELAY = 1
/** Time until a worker that was cut off closes its connections, in milliseconds: a running dispatcher answers the clients within it. */
const CUT_DELAY = 500

/** An action that waits until the dispatcher has certain frames. */
interface Waiting {
  act(): void
  /** The number of frames that the dispatcher must have first. */
  readonly after: number
}

/** A handler thread as the main thread reaches it: the main thread itself or another. */
type HandlerThread = Pick<WorkerServer, 'receive' | 'stopped'>

/**
 * The main thread of a worker process: it has the pipes to the dispatcher and a publisher for each Mongrel2, and passes frames to the
 * handler threads; it may be the only one itself.
 *
 * The dispatcher reads its pipe to the end before it acts on the end of this process. So the dispatcher has a report as soon as the system has
 * taken it, and no byte of an answer is published before that. A dispatcher on another machine may lose reports, so it confirms them.
 */
export class WorkerMain {
  readonly #ended: Deferred<void> = deferred()
  /** Resolves when everything has been delivered and the process can end. */
  readonly ended: Promise<void> = this.#ended.promise
  readonly logger: Logger
  readonly #config: WorkerConfig
  readonly #settings: Settings
  readonly #pipe: FramePipe
  readonly #threads: HandlerThread[] = []
  readonly #publishers = new Map<number, ReconnectingPublisher>()
  readonly #controlPorts = new Map<number, FeedbackSource>()
  /** The thread that gets the next frame, a message. */
  #dealtTo: number | undefined
  #waiting: Waiting[] = []
  /** Resolves when no action waits. */
  #allActed: Deferred<void> | undefined
  /** Frames sent, and frames that a dispatcher on another machine has confirmed. */
  #sent = 0
  #confirmed = 0
  /** Reports of published replies, which wait for others to go with. */
  #unsent: Buffer[] = []
  #timer: NodeJS.Timeout | undefined
  /** Resolves when the system has taken all published replies. */
  #taken: Promise<void> = Promise.resolve()
  #stopping = false
  /** Whether the dispatcher is gone. */
  #orphan = false
  /** Whether the dispatcher has given up the connections: no byte of an answer may be published. */
  #cutOff = false
  /** Connections that were closed instead of answered since then, as `EPOCH ID`. */
  #closed: Set<string> | undefined

  constructor(config: WorkerConfig) {
    this.logger = parentLogger(config.logLevels, (news) => this.#tell(news))
    this.#config = config
    // For the sockets; the handlers' settings come with the app.
    this.#settings = checkOptions(() => new Response(), config.options)
    this.#pipe = openPipes((frame) => this.#take(frame))
    void this.#pipe.closed.then(() => this.#orphaned())
    if (config.watched === true) reportApp((news) => this.#tell(news))
  }

  /** Starts the handler threads and reports that; reports and returns false if the app cannot be loaded. */
  async start(): Promise<boolean> {
    try {
      await this.#load()
    } catch (error) {
      this.#stopping = true
      this.#tell({ news: 'failed', reason: reasonOf(error) })
      await this.#endPipe()
      return false
    }
    this.#tell({ news: 'loaded' })
    return true
  }

  /** Asks to be replaced. */
  leave(reason: string): void {
    this.#tell({ news: 'leaving', reason })
  }

  async #load(): Promise<void> {
    const { threads: count } = this.#config
    const uplink: Uplink = {
      publish: (publication) => this.#publish(publication),
      send: (frame) => this.#write(frame),
      isFull: (epoch) => this.#publishers.get(epoch)?.publisher?.full ?? false,
      drained: async (epoch) => await this.#publishers.get(epoch)?.publisher?.drained(),
      feedback: (epoch, address) => this.#controlPort(epoch, address),
    }
    if (count <= 1)
      return void this.#threads.push(new WorkerServer(await loadSettings(this.#config, this.logger), 0, uplink))
    const threads = Array.from({ length: count }, (_, thread) => this.#startThread(thread, uplink))
    this.#threads.push(...threads)
    await Promise.all(threads.map((thread) => thread.loaded))
  }

  #startThread(thread: number, uplink: Uplink): ThreadHandle {
    return new ThreadHandle(this.#config, thread, uplink, (error) => {
      if (this.#stopping) return
      this.logger.error?.(`mongrel2-fetch: a handler thread ended: ${describeError(error)}`)
      this.#tell({ news: 'ended', thread })
      this.leave('a handler thread ended')
    })
  }

  #take(frame: Buffer): void {
    // Reports of earlier requests go first: the next one may end this process.
    if (this.#unsent.length > 0) this.#write()
    if (this.#dealtTo !== undefined) {
      this.#threads[this.#dealtTo]?.receive(frame)
      this.#dealtTo = undefined
    } else if (isDealtHead(frame)) {
      this.#dealtTo = threadOf(frame)
      this.#threads[this.#dealtTo]?.receive(frame)
    } else if (isTopicFrame(frame)) this.#threads[threadOf(frame)]?.receive(frame)
    else this.#obey(parseOrder(frame), frame)
  }

  #obey(order: Order, frame: Buffer): void {
    switch (order.order) {
      case 'stop':
        return void this.#stop(order.timeout)
      case 'cut':
        return void this.#cut()
      case 'confirm':
        this.#confirmed = order.frames
        return this.#act()
      case 'handOver':
        return this.#threads[order.thread]?.receive(frame)
      case 'end':
        this.#detach(order.epoch)
    }
    this.#receiveAll(frame)
    if (order.order === 'begin') this.#attach(order, frame)
  }

  #receiveAll(frame: Buffer): void {
    for (const thread of this.#threads) thread.receive(frame)
  }

  #attach({ link, epoch }: Order & { order: 'begin' }, begin: Buffer): void {
    const endpoint = this.#settings.endpoints[link]
    if (endpoint === undefined) return
    let before = false
    const changed = (attached: boolean) => {
      if (!attached) this.#receiveAll(renderJson({ order: 'end', link, epoch }))
      else if (before) this.#receiveAll(begin)
      before = true
      this.#tell({ news: attached ? 'attached' : 'detached', link, epoch })
    }
    const transport = TRANSPORTS[endpoint.link]
    const { identity } = this.#settings
    const publisher = new ReconnectingPublisher(transport, endpoint.recvSpec, identity, this.logger, changed)
    this.#publishers.set(epoch, publisher)
  }

  #detach(epoch: number): void {
    this.#publishers.get(epoch)?.end()
    this.#publishers.delete(epoch)
    this.#controlPorts.get(epoch)?.close()
    this.#controlPorts.delete(epoch)
  }

  #controlPort(epoch: number, address: ControlPortAddress): FeedbackSource {
    const port = this.#controlPorts.get(epoch) ?? shareFeedback(new ControlPort(address))
    this.#controlPorts.set(epoch, port)
    return { ...port, close: () => {} }
  }

  #publish({ before, publication, after }: ReportedPublication): void {
    if (before !== undefined) this.#write(before)
    const act = () => {
      if (publication !== undefined) {
        const replies = this.#closed === undefined ? publication.replies : closeInstead(publication, this.#closed)
        if (replies.length > 0) this.#publishers.get(publication.epoch)?.publisher?.publish([...replies])
      }
      if (after !== undefined) this.#writeWhenTaken(after)
    }
    const frames = before === undefined ? 0 : this.#sent
    if (this.#waiting.length === 0 && this.#isReported(frames)) act()
    else this.#waiting.push({ act, after: frames })
  }

  #tell(news: News): void {
    this.#write(renderJson(news))
  }

  /** Whether the dispatcher has a number of frames: on this machine it has them when the system has taken all. */
  #isReported(frames: number): boolean {
    if (this.#cutOff) return false
    if (this.#orphan) return true
    return this.#config.remote ? this.#confirmed >= frames : this.#pipe.waitingBytes === 0
  }

  readonly #act = (): void => {
    for (let [first] = this.#waiting; first !== undefined && this.#isReported(first.after); [first] = this.#waiting) {
      this.#waiting.shift()
      first.act()
    }
    if (this.#waiting.length === 0) this.#allActed?.resolve()
  }

  #orphaned(): void {
    if (this.#config.remote) return void this.#cut()
    this.#orphan = true
    this.#act()
    void this.#stop(ORPHAN_TIMEOUT)
  }

  /** Closes connections without an answer, and ends: the dispatcher may answer in this worker's place. */
  async #cut(): Promise<void> {
    if (this.#cutOff || this.#orphan) return
    this.#cutOff = true
    await delay(CUT_DELAY)
    this.#closed = new Set()
    this.#cutOff = false
    this.#orphan = true
    this.#act()
    this.#receiveAll(renderJson({ order: 'cut' }))
    await this.#stop(0)
  }

  #writeWhenTaken(frame: Buffer): void {
    this.#taken = this.#taken
      .then(() => this.#allTaken())
      .then(() => {
        this.#unsent.push(frame)
        this.#timer ??= setTimeout(() => this.#write(), REPORT_DELAY)
      })
  }

  async #allTaken(): Promise<void> {
    for (const { publisher } of this.#publishers.values()) await publisher?.drained()
  }

  #write(frame?: Buffer): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const frames = this.#unsent
    this.#unsent = []
    if (frame !== undefined) frames.push(frame)
    this.#sent += frames.length
    if (frames.length > 0) this.#pipe.send(frames, this.#act)
  }

  async #stop(timeout: number): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    this.#receiveAll(renderJson({ order: 'stop', timeout }))
    await Promise.all(this.#threads.map(({ stopped }) => stopped))
    if (this.#waiting.length > 0) {
      this.#allActed = deferred()
      await this.#allActed.promise
    }
    await this.#taken
    await Promise.all([...this.#publishers.values()].map((publisher) => publisher.close()))
    this.#write()
    await this.#endPipe()
    this.#ended.resolve()
  }

  async #endPipe(): Promise<void> {
    await Promise.race([this.#pipe.end(), delay(LINGER)])
  }
}
