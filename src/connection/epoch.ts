import type { Application } from '../exchange/application.ts'
import type { Intake } from '../exchange/intake.ts'
import type { LinkEpoch, Publisher } from '../link/link.ts'
import { describeError, escapeBytes, type Logger, ThrottledWarning } from '../runtime/log.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import { MalformedError } from '../wire/malformed.ts'
import { type Message, parseMessage } from '../wire/message.ts'
import { CLOSE, type Control, joinReply, renderControl, renderReply } from '../wire/reply.ts'
import { ClosedConnections } from './closed-connections.ts'
import { Connection, type ConnectionOwner } from './connection.ts'
import type { ConnectionObserver } from './connection-observer.ts'
import { type LeftConnections, leave } from './left-connection.ts'
import { ControlPacing } from './pacing/control-pacing.ts'
import { CreditPacing } from './pacing/credit-pacing.ts'
import { DrainingConnections } from './pacing/draining-connections.ts'
import { EstimatePacing, type EstimateSettings } from './pacing/estimate-pacing.ts'
import { Feedback, type FeedbackSource } from './pacing/feedback.ts'
import { noPacings, type Pacing, type PacingCounts } from './pacing/pacing.ts'
import { Probe } from './probe.ts'
import { ReplyBatch } from './reply-batch.ts'
import { kindOf } from './request-semantics.ts'
import type { TokenPlace } from './token.ts'

/** How often connections that need no memory are forgotten, in milliseconds. */
const SWEEP_INTERVAL = 1000

/** Mongrel2 counts credits in a C `int`. */
const CREDITS = /^\d{1,10}$/

const LEFT = 'the client left before the response was complete'
const VANISHED = 'Mongrel2 ended the connection before the response was complete'

/** What an epoch has to know of the options. */
export interface EpochSettings extends EstimateSettings {
  /** Whether Mongrel2 is known to run with `download.flow_control`; otherwise its messages tell. */
  readonly flowControl: boolean
  /** Requests of one connection that are worked on at once. */
  readonly maxPipelined: number
  /** Milliseconds between two signs of life to Mongrel2 for connections with an open request. */
  readonly keepAliveInterval: number
  readonly place: TokenPlace
  /** Connections that a reply may name: Mongrel2's `limits.handler_targets`. */
  readonly handlerTargets: number
  /** What the epoch before has left open, unless that was another life of Mongrel2 for certain. */
  readonly left?: LeftConnections | undefined
  readonly logger: Logger
}

/** What not every epoch has. */
export interface EpochParts {
  readonly controlPort?: FeedbackSource | undefined
  readonly observer?: ConnectionObserver | undefined
}

/** When a connection whose answer is left to others is asked for, in milliseconds of `performance.now()`. */
interface Absence {
  readonly since: number
  askAt: number
}

/**
 * One life of a Mongrel2: its connections and what is published to them. Connection numbers mean something within an epoch
 * only; when it ends, everything of it ends.
 */
export class Epoch implements LinkEpoch, ConnectionOwner {
  readonly publisher: Publisher
  readonly place: TokenPlace
  readonly #prefix: string
  readonly #intake: Intake
  readonly #application: Application
  readonly #settings: EpochSettings
  readonly #feedback: Feedback | undefined
  readonly #observer: ConnectionObserver | undefined
  readonly #warning: ThrottledWarning
  readonly #stallWarning: ThrottledWarning
  readonly #overrunWarning: ThrottledWarning
  readonly #connections = new Map<number, Connection>()
  readonly #closed = new ClosedConnections()
  /** What the epoch before has left open; since this one was lost, what it leaves itself. */
  readonly left: LeftConnections
  readonly #deferred = new Map<Connection, Absence>()
  readonly #draining = new DrainingConnections()
  #touched: Connection[] = []
  #turn: NodeJS.Immediate | undefined
  #sweeper: NodeJS.Timeout | undefined
  #keeper: NodeJS.Timeout | undefined
  #quiet: Deferred<void> | undefined
  #heard: Deferred<void> | undefined
  #flowControl: boolean
  /** The highest number of a connection that was seen: Mongrel2 counts them up. */
  #newest = -1
  #lost = false
  #leaving = false
  /** Whether notices still come: without anybody who pulls, one that cannot be sent keeps Mongrel2 from reading replies. */
  #hears = true
  #probe: Probe | undefined
  #probes = 0

  /**
   * @param prefix What Mongrel2 subscribed to.
   * @param parts.controlPort Where Mongrel2's control port may be asked.
   * @param parts.observer Told what becomes of the connections, where somebody else deals the messages.
   */
  constructor(
    publisher: Publisher,
    prefix: string,
    settings: EpochSettings,
    intake: Intake,
    application: Application,
    { controlPort, observer }: EpochParts = {},
  ) {
    this.publisher = publisher
    this.place = settings.place
    this.#prefix = prefix
    this.#settings = settings
    this.left = settings.left ?? new Map()
    this.#flowControl = settings.flowControl
    this.#intake = intake
    this.#application = application
    this.#warning = new ThrottledWarning(settings.logger)
    this.#stallWarning = new ThrottledWarning(settings.logger)
    this.#observer = observer
    this.#overrunWarning = new ThrottledWarning(settings.logger)
    const vanished = (connection: Connection) => this.#lose(connection, VANISHED)
    this.#feedback = controlPort && new Feedback(controlPort, this.#warning, vanished)
  }

  /** Connections that state is kept for. */
  get connections(): number {
    return this.#connections.size
  }

  get leaving(): boolean {
    return this.#leaving
  }

  get probe(): Probe {
    this.#probe ??= new Probe(++this.#probes)
    return this.#probe
  }

  /** How the connections that state is kept for are paced. */
  get pacing(): PacingCounts {
    const pacing = noPacings()
    for (const connection of this.#connections.values()) pacing[connection.pacing.mode]++
    return pacing
  }

  /** @param balance What a connection brings along from where it was before, by `handOver`. */
  receive(bytes: Buffer, balance?: number): void {
    this.#application.counters.messages++
    try {
      this.#deal(parseMessage(bytes), balance)
    } catch (error) {
      if (error instanceof MalformedError) {
        this.#application.counters.malformed++
        this.#warning.say(() => `mongrel2-fetch dropped a malformed message, ${error.message}: ${escapeBytes(bytes)}`)
      } else this.#settings.logger.error?.(`mongrel2-fetch: a message could not be handled: ${describeError(error)}`)
    }
  }

  lost(): void {
    if (this.#lost) return
    this.#lost = true
    clearImmediate(this.#turn)
    this.#stopTimers()
    this.#feedback?.close()
    const reason = new DOMException('Mongrel2 went away before the response was complete', 'AbortError')
    for (const connection of this.#connections.values()) {
      const { id, sender, deferred } = connection
      if (connection.busy) leave(this.left, id, { sender, deferred })
      connection.lose(reason)
    }
    this.#connections.clear()
    this.#draining.clear()
    this.#quiet?.resolve()
    this.#heard?.resolve()
  }

  /** Closes what the epoch before has left open, for certain at the same Mongrel2: nothing else will come of it. */
  closeLeft(): void {
    const replies: Buffer[] = []
    for (const [id, { sender, deferred }] of this.left) {
      if (deferred) continue
      this.left.delete(id)
      this.#closed.add(id, performance.now())
      replies.push(joinReply(renderReply(sender, [id], [CLOSE])))
    }
    this.#control(replies)
  }

  /**
   * Resolves when nothing more has to come from Mongrel2 for what is open to be finished: no credits for answers, no parts of bodies.
   * Where something has, requests that come meanwhile are refused.
   */
  async heardOut(): Promise<void> {
    if (this.#lost || !this.#mustHear()) return
    this.#intake.stop()
    // Connections that Mongrel2 has ended without a notice (a client's reset during a write) are not waited for.
    this.#keepAlive()
    clearInterval(this.#keeper)
    this.#keeper = setInterval(() => this.#keepAlive(), SWEEP_INTERVAL).unref()
    this.#heard ??= deferred()
    await this.#heard.promise
  }

  /** Refuses the uploads that are under way: their end will not come here. */
  refuseUploads(): void {
    this.#hears = false
    for (const connection of this.#connections.values()) {
      connection.upload?.refuse(503, 'The server is stopping')
      // A streamed one has a say in how its connection is closed.
      if (connection.upload?.streamed === false) connection.upload = undefined
    }
  }

  /**
   * Gives up a connection on which nothing is open, for somebody else to go on with.
   *
   * @returns Bytes that Mongrel2 has not written yet, to be passed to the other's `receive`; undefined when something is open, and
   *   the connection stays.
   */
  handOver(id: number): number | undefined {
    const connection = this.#connections.get(id)
    const balance = connection === undefined ? 0 : connection.balance(performance.now())
    if (balance !== undefined) this.#connections.delete(id)
    return balance
  }

  /** Mongrel2 is known by others to run with `download.flow_control`. */
  assumeFlowControl(): void {
    this.#flowControl = true
  }

  /** Takes leave of the clients of WebSockets, opens no more, and ends what would go on for ever; resolves when they have answered. */
  async goAway(): Promise<void> {
    this.#leaving = true
    const farewells = [...this.#connections.values()].map((connection) => connection.goAway())
    await Promise.all(farewells)
  }

  /** Ends the WebSockets whose clients have not answered: nothing will be heard of them any more. */
  endSockets(): void {
    this.#leaving = true
    for (const connection of this.#connections.values()) connection.frames?.end()
  }

  /** Resolves when everything there was to say has been published, or Mongrel2 is gone. */
  async drained(): Promise<void> {
    this.flush()
    if (!this.#lost && this.#isBusy()) {
      this.#quiet ??= deferred()
      await this.#quiet.promise
    }
  }

  /** Closes the connections that still wait for an answer or the rest of one from here. */
  cutBusy(): void {
    for (const connection of this.#connections.values()) {
      if (connection.unfinished) connection.cut()
      else connection.forsake()
    }
    this.flush()
  }

  /** Closes every connection. */
  cutAll(): void {
    for (const connection of this.#connections.values()) connection.cut()
    this.flush()
  }

  touch(connection: Connection): void {
    this.#touched.push(connection)
    this.#turn ??= setImmediate(() => this.flush())
  }

  closed(connection: Connection): void {
    this.#connections.delete(connection.id)
    this.#observer?.closed(connection.id)
    const now = performance.now()
    this.#closed.add(connection.id, now)
    this.#draining.add(connection, now)
  }

  deferred(connection: Connection): void {
    const now = performance.now()
    this.#deferred.set(connection, { since: now, askAt: now + SWEEP_INTERVAL })
    this.#observer?.deferred(connection.id)
  }

  /** Publishes what the connections have to say, all of it together. */
  flush(): void {
    clearImmediate(this.#turn)
    this.#turn = undefined
    if (this.#lost) return
    const touched = this.#touched
    this.#touched = []
    const batch = new ReplyBatch(this.#settings.handlerTargets)
    const { counters } = this.#application
    const now = performance.now()
    for (const connection of touched) {
      const bytes = connection.take(batch, now)
      counters.bytesOut += bytes
      if (this.#observer !== undefined) this.#report(this.#observer, connection, bytes)
      if (connection.pacing.wantsFeedback?.(now) && !connection.gone) this.#feedback?.watch(connection)
    }
    this.#probe = undefined
    const replies = batch.finish()
    counters.replies += replies.length
    if (replies.length > 0) this.publisher.publish(replies)
    if (this.#quiet !== undefined && !this.#isBusy()) this.#quiet.resolve()
    if (this.#heard !== undefined && !this.#mustHear()) this.#heard.resolve()
  }

  #report(observer: ConnectionObserver, connection: Connection, bytes: number): void {
    if (bytes > 0) observer.answering(connection.id)
    if (!connection.busy && !connection.gone) observer.idle(connection.id)
  }

  #isBusy(): boolean {
    for (const connection of this.#connections.values()) if (connection.unfinished) return true
    return false
  }

  #mustHear(): boolean {
    for (const connection of this.#connections.values()) if (connection.needsMessages) return true
    return false
  }

  #deal(message: Message, balance: number | undefined): void {
    const kind = kindOf(message)
    if (kind === 'notice') return this.#notice(message)
    const connection = this.#connectionOf(message, balance)
    if (connection !== undefined && this.left.delete(connection.id)) {
      // An answer to this request would be taken for the answer to the one that was left open.
      this.#intake.discard(message)
      return this.#refuse(connection)
    }
    if (connection?.frames?.takes === kind) return connection.frames.receive(message)
    // A body under way belongs to a request that was heard before.
    if (connection === undefined || (connection.deaf && connection.upload === undefined)) this.drop(message)
    else if (!connection.crowded) this.deal(message, connection, kind)
    else if (!connection.hold(message)) this.drop(message)
  }

  deal(message: Message, connection: Connection, kind = kindOf(message)): void {
    if (connection.upload !== undefined) return connection.upload.receive(message)
    switch (kind) {
      case 'request':
        if (isUploadPart(message)) return this.#intake.refusePart(message, connection)
        return this.#intake.accept(message, connection)
      case 'handshake':
        if (!this.#leaving) return this.#intake.acceptHandshake(message, connection)
        return this.#intake.refuse(this.#intake.open(message, connection), 503, 'The server is stopping')
      case 'socket':
        // Who spoke HTTP and was not answered yet would find our messages amid the answer.
        if (!this.#leaving && !connection.busy && this.#intake.acceptSocket(message, connection)) {
          // It waits for no answer: whatever becomes of us, it must not get one.
          this.#observer?.answering(connection.id)
          return
        }
        return this.#refuse(connection)
      default:
        this.#refuse(connection)
    }
  }

  /** Frames without a handshake of ours, and sockets that nobody speaks to: there is nothing to answer but the end. */
  #refuse(connection: Connection): void {
    this.#application.counters.rejected++
    connection.close()
  }

  /** A notice is never answered: a reply to a connection that is gone brings another. */
  #notice(message: Message): void {
    const connection = this.#connections.get(message.connectionId)
    const credits = message.headers.own('DOWNLOAD_CREDITS')
    if (credits === undefined) this.left.delete(message.connectionId)
    // Message sockets are not told when they begin.
    if (credits !== undefined) this.#learnFlowControl()
    if (credits === undefined && this.#draining.gone(message.connectionId)) return
    if (connection === undefined || (credits !== undefined && !CREDITS.test(credits))) {
      this.#application.counters.ignored++
    } else if (credits !== undefined) connection.credit(Number(credits))
    else {
      if (connection.busy && connection.pacing.mayBeOverrun?.(performance.now())) this.#warnOfOverrun()
      this.#lose(connection, LEFT)
    }
  }

  #lose(connection: Connection, reason: string): void {
    this.#connections.delete(connection.id)
    this.#observer?.forgotten(connection.id)
    connection.lose(new DOMException(reason, 'AbortError'))
    // It may be the last that is waited for.
    if (this.#heard !== undefined || this.#quiet !== undefined) this.#turn ??= setImmediate(() => this.flush())
  }

  /**
   * Keeps Mongrel2 from ending connections on which nothing happens though a request is open. One that it has ended all the same, and
   * says nothing of, is found by this: a reply to it brings a notice. So does the offer of no credits, which leaves the others as they are;
   * a connection that waits for its own client is not kept.
   */
  #keepAlive(): void {
    const now = performance.now()
    const open: Connection[] = []
    const unsettled: Connection[] = []
    for (const connection of this.#connections.values()) {
      if (connection.busy && !connection.awaitsClient) open.push(connection)
      else if (connection.busy || !connection.pacing.settled(now)) unsettled.push(connection)
    }
    const { handlerTargets } = this.#settings
    this.#control([
      ...renderControls(open, { 'keep-alive': true }, handlerTargets),
      ...renderControls(unsettled, { credits: 0 }, handlerTargets),
    ])
  }

  /**
   * Others' answers end connections without a word to us, but a reply to one that is gone brings a notice: each is asked for when it has
   * been away for twice as long as the last time.
   */
  #askForDeferred(now: number): void {
    const asked: Connection[] = []
    for (const [connection, absence] of this.#deferred) {
      if (!connection.deferred || connection.gone) this.#deferred.delete(connection)
      else if (this.#hears && now >= absence.askAt) {
        asked.push(connection)
        absence.askAt = now + (now - absence.since)
      }
    }
    this.#control(renderControls(asked, { 'keep-alive': true }, this.#settings.handlerTargets))
  }

  /** A reply that gives no credits changes nothing, but one to a connection that is gone brings a notice. */
  #askForDraining(now: number): void {
    if (this.#hears)
      this.#control(renderControls(this.#draining.due(now), { credits: 0 }, this.#settings.handlerTargets))
  }

  #control(replies: Buffer[]): void {
    this.#application.counters.replies += replies.length
    if (replies.length > 0) this.publisher.publish(replies)
  }

  #learnFlowControl(): void {
    if (this.#flowControl) return
    this.#flowControl = true
    this.#observer?.flowControl()
  }

  /** The message's connection; undefined for one that we have closed. */
  #connectionOf(message: Message, balance = 0): Connection | undefined {
    const { connectionId, sender, headers } = message
    const known = this.#connections.get(connectionId)
    if (known !== undefined) return known
    if (this.#closed.has(connectionId)) return undefined
    if (!sender.startsWith(this.#prefix)) {
      this.#warning.say(
        () =>
          `mongrel2-fetch cannot answer: Mongrel2 takes only replies whose SENDER begins with its Handler's recv_ident, ${JSON.stringify(this.#prefix)}, ` +
          `but the send_ident is ${JSON.stringify(sender)}: set recv_ident to ''`,
      )
    }
    // The setting is one for all of Mongrel2, and only a connection's first request tells.
    if (headers.own('DOWNLOAD_CREDITS') !== undefined) this.#learnFlowControl()
    // Where somebody else deals, another may have published for a connection that is new here.
    const fresh = this.#observer === undefined && connectionId > this.#newest
    const pacing = this.#createPacing(balance, fresh)
    this.#newest = Math.max(this.#newest, connectionId)
    const connection = new Connection(connectionId, sender, pacing, this.#settings.maxPipelined, this)
    this.#connections.set(connectionId, connection)
    this.#sweeper ??= setInterval(() => this.sweep(), SWEEP_INTERVAL).unref()
    this.#keeper ??= setInterval(() => this.#keepAlive(), this.#settings.keepAliveInterval).unref()
    return connection
  }

  /** @param fresh Whether nothing was published for the connection before. */
  #createPacing(balance: number, fresh: boolean): Pacing {
    if (this.#flowControl) return new CreditPacing(balance)
    const budget = this.#application.waitingBudget
    if (this.#feedback === undefined) return new EstimatePacing(this.#settings, budget)
    return new ControlPacing(this.#settings, budget, this.#feedback.port, fresh)
  }

  stalled({ pacing }: Connection): void {
    if (pacing.mode !== 'estimate' || pacing.undecided === true) return
    this.#stallWarning.say(
      () =>
        `mongrel2-fetch slows a stream down to ${this.#settings.minClientRate} bytes a second (minClientRate), since nobody tells what its client ` +
        `has read: ${this.#advice}`,
    )
  }

  /** Mongrel2 says no more than that the connection is gone. */
  #warnOfOverrun(): void {
    this.#overrunWarning.say(
      () =>
        `mongrel2-fetch: a stream was cut short because its client left, or because it read less than ${this.#settings.minClientRate} bytes a ` +
        `second (minClientRate) and nobody told: ${this.#advice}`,
    )
  }

  get #advice(): string {
    const { port, address } = this.#feedback ?? {}
    const problem = port?.problem === undefined ? '' : ` (${address?.spec} is not used: ${port.problem})`
    return `turn on Mongrel2's download.flow_control, or name its control port in zeromq${problem}`
  }

  /** What a client sent behind a request that was its last is not looked at, but for the file it may leave behind. */
  drop(message: Message): void {
    this.#application.counters.rejected++
    this.#intake.discard(message)
  }

  /** Forgets the connections of which nothing has to be remembered. */
  sweep(): void {
    const now = performance.now()
    this.#askForDeferred(now)
    this.#askForDraining(now)
    for (const connection of this.#connections.values()) {
      if (!connection.isIdle(now)) continue
      this.#connections.delete(connection.id)
      this.#observer?.forgotten(connection.id)
    }
    if (this.#connections.size === 0 && this.#draining.size === 0) this.#stopTimers()
  }

  #stopTimers(): void {
    clearInterval(this.#sweeper)
    clearInterval(this.#keeper)
    this.#sweeper = undefined
    this.#keeper = undefined
  }
}

/** Whether a message is a later part of a streamed upload. */
function isUploadPart({ headers }: Message): boolean {
  return headers.own('UPLOAD_STREAM') !== undefined && headers.own('METHOD') === undefined
}

/** Renders what is to be said to connections, so many in a reply. */
function renderControls(connections: readonly Connection[], control: Control, targets: number): Buffer[] {
  const bySender = new Map<string, number[]>()
  for (const { sender, id } of connections) {
    const ids = bySender.get(sender)
    if (ids === undefined) bySender.set(sender, [id])
    else ids.push(id)
  }
  const replies: Buffer[] = []
  for (const [sender, ids] of bySender) {
    for (let at = 0; at < ids.length; at += targets) {
      replies.push(renderControl(sender, ids.slice(at, at + targets), control))
    }
  }
  return replies
}
