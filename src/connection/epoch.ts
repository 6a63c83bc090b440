import type { LinkEpoch } from '../link/link.ts'
import type { Publisher } from '../link/transport.ts'
import { describeError, escapeBytes, type Logger, ThrottledWarning } from '../runtime/log.ts'
import { MalformedError } from '../wire/malformed.ts'
import { type Message, parseMessage } from '../wire/message.ts'
import { CLOSE, type Reply, renderReply } from '../wire/reply.ts'
import type { Probe } from '../wire/websocket/frames.ts'
import { ClosedConnections, type LeftConnections, leave } from './closed-connections.ts'
import { EpochClosing } from './closing.ts'
import { Connection, type ConnectionOwner } from './connection.ts'
import { KeepAlive, SWEEP_INTERVAL } from './keep-alive.ts'
import { ControlPacing } from './pacing/control-pacing.ts'
import { CreditPacing } from './pacing/credit-pacing.ts'
import { EstimatePacing, type EstimateSettings, type WaitingBudget } from './pacing/estimate-pacing.ts'
import { Feedback, type FeedbackSource } from './pacing/feedback.ts'
import { noPacings, type Pacing, type PacingCounts } from './pacing/pacing.ts'
import type { TokenPlace } from './token.ts'
import { Turn, type TurnOwner } from './turn.ts'

/** Mongrel2 counts credits in a C `int`. */
const CREDITS = /^\d{1,10}$/

const LEFT = 'the client left before the response was complete'
const VANISHED = 'Mongrel2 ended the connection before the response was complete'

/** What an epoch has to know. */
export interface EpochSettings extends EstimateSettings {
  /** What Mongrel2 subscribed to, its `recv_ident`. */
  readonly prefix: string
  /** Whether Mongrel2 is known to run with `download.flow_control`; otherwise its messages tell. */
  readonly flowControl: boolean
  /** Requests of one connection that are worked on at once. */
  readonly maxPipelined: number
  /** Milliseconds between two signs of life to Mongrel2 for connections with an open request. */
  readonly keepAliveInterval: number
  readonly place: TokenPlace
  /** Connections that a reply may name: Mongrel2's `limits.handler_targets`. */
  readonly handlerTargets: number
  /** What the epoch before has left open, unless its Mongrel2 certainly was another. */
  readonly left?: LeftConnections | undefined
  readonly logger: Logger
}

/** Takes the messages that are no frames, notices or parts of a body under way. */
export interface MessageIntake {
  /** Takes a request, or the first message of one. */
  accept(message: Message, connection: Connection): void
  /** Takes the handshake of a WebSocket. */
  acceptHandshake(message: Message, connection: Connection): void
  /** Takes the first message of a message socket; false where nothing takes it. */
  acceptSocket(message: Message, connection: Connection): boolean
  /** Takes a part of a body whose beginning did not come here. */
  refusePart(message: Message, connection: Connection): void
  /** A message will not be dealt with: what it leaves behind is deleted. */
  discard(message: Message): void
  /** Refuses every request from now on. */
  stop(): void
}

/** What an epoch counts. */
export interface EpochCounters {
  messages: number
  malformed: number
  rejected: number
  ignored: number
  replies: number
  bytesOut: number
}

/** Told what becomes of connections, where a dispatcher deals their messages. */
export interface ConnectionObserver {
  /** Bytes for its client are about to be published. */
  answering(id: number): void
  /** Nothing is open on it: what it has sent so far is answered, in what is published next or before. */
  idle(id: number): void
  /** Its answer is left to others. */
  deferred(id: number): void
  /** What is published next ends it. */
  closed(id: number): void
  /** Nothing is remembered of it any more: another process can take its next message. */
  forgotten(id: number): void
  /** Mongrel2 was found to run with `download.flow_control`, which only a connection's first request tells. */
  flowControl(): void
}

/** What an epoch works with. */
export interface EpochParts {
  readonly intake: MessageIntake
  readonly counters: EpochCounters
  /** Bounds what waits in Mongrel2 for all connections that are paced by estimate. */
  readonly waitingBudget: WaitingBudget
  /** Asks Mongrel2's control port. */
  readonly controlPort?: FeedbackSource | undefined
  readonly observer?: ConnectionObserver | undefined
}

/** One epoch of a Mongrel2: deals its messages to its connections. Connection numbers have no meaning beyond it. */
export class Epoch implements LinkEpoch, ConnectionOwner, TurnOwner {
  readonly publisher: Publisher
  readonly place: TokenPlace
  readonly closing: EpochClosing
  /** What the epoch before has left open; once this one is lost, what it leaves itself. */
  readonly left: LeftConnections
  readonly #settings: EpochSettings
  readonly #intake: MessageIntake
  readonly #counters: EpochCounters
  readonly #waitingBudget: WaitingBudget
  readonly #observer: ConnectionObserver | undefined
  readonly #feedback: Feedback | undefined
  readonly #warning: ThrottledWarning
  readonly #stallWarning: ThrottledWarning
  readonly #overrunWarning: ThrottledWarning
  readonly #connections = new Map<number, Connection>()
  readonly #closed = new ClosedConnections()
  readonly #turn: Turn
  readonly #keepAlive: KeepAlive
  #sweeper: NodeJS.Timeout | undefined
  #flowControl: boolean
  /** The highest number of a connection that was seen: Mongrel2 counts them up. */
  #newest = -1
  #lost = false

  constructor(publisher: Publisher, settings: EpochSettings, parts: EpochParts) {
    const { handlerTargets, keepAliveInterval, logger } = settings
    this.publisher = publisher
    this.place = settings.place
    this.left = settings.left ?? new Map()
    this.#settings = settings
    this.#flowControl = settings.flowControl
    this.#intake = parts.intake
    this.#counters = parts.counters
    this.#waitingBudget = parts.waitingBudget
    this.#observer = parts.observer
    this.#warning = new ThrottledWarning(logger)
    this.#stallWarning = new ThrottledWarning(logger)
    this.#overrunWarning = new ThrottledWarning(logger)
    const vanished = (connection: Connection) => this.#lose(connection, VANISHED)
    this.#feedback = parts.controlPort && new Feedback(parts.controlPort, this.#warning, vanished)
    this.#turn = new Turn(this, handlerTargets)
    const publish = (replies: Reply[]) => this.#publish(replies)
    this.#keepAlive = new KeepAlive(this.#connections, publish, handlerTargets, keepAliveInterval)
    this.closing = new EpochClosing(this.#connections, this.#turn, this.#keepAlive, () => parts.intake.stop())
  }

  /** Connections that state is kept for. */
  get connections(): number {
    return this.#connections.size
  }

  /** How they are paced. */
  get pacing(): PacingCounts {
    const pacing = noPacings()
    for (const connection of this.#connections.values()) pacing[connection.pacing.mode]++
    return pacing
  }

  get leaving(): boolean {
    return this.closing.leaving
  }

  get probe(): Probe {
    return this.#turn.probe
  }

  /** @param unwrittenBytes What `handOver` returned where the connection was before. */
  receive(bytes: Buffer, unwrittenBytes?: number): void {
    this.#counters.messages++
    try {
      this.#deal(parseMessage(bytes), unwrittenBytes)
    } catch (error) {
      if (error instanceof MalformedError) {
        this.#counters.malformed++
        this.#warning.say(() => `mongrel2-fetch dropped a malformed message, ${error.message}: ${escapeBytes(bytes)}`)
      } else this.#settings.logger.error?.(`mongrel2-fetch: a message could not be handled: ${describeError(error)}`)
    }
  }

  lost(): void {
    if (this.#lost) return
    this.#lost = true
    this.#turn.cancel()
    this.#stopTimers()
    this.#feedback?.close()
    const reason = new DOMException('Mongrel2 went away before the response was complete', 'AbortError')
    for (const connection of this.#connections.values()) {
      const { id, sender, deferred } = connection
      if (connection.busy) leave(this.left, id, sender, deferred)
      connection.lose(reason)
    }
    this.#connections.clear()
    this.#keepAlive.lost()
    this.closing.lost()
  }

  /** Closes what the epoch before has left open, at certainly the same Mongrel2: it will not be answered. */
  closeLeft(): void {
    const replies: Reply[] = []
    for (const [id, { sender, deferred }] of this.left) {
      if (deferred) continue
      this.left.delete(id)
      this.#closed.add(id, performance.now())
      replies.push(renderReply(sender, [id], [CLOSE]))
    }
    this.#publish(replies)
  }

  /** Gives up a connection for another process; returns the bytes that the other's `receive` needs, undefined where something is open on it. */
  handOver(id: number): number | undefined {
    const connection = this.#connections.get(id)
    const unwrittenBytes = connection === undefined ? 0 : connection.unwrittenBytes(performance.now())
    if (unwrittenBytes !== undefined) this.#connections.delete(id)
    return unwrittenBytes
  }

  /** The dispatcher knows that Mongrel2 runs with `download.flow_control`. */
  assumeFlowControl(): void {
    this.#flowControl = true
  }

  touch(connection: Connection): void {
    this.#turn.touch(connection)
  }

  taken(connection: Connection, bytes: number, now: number): void {
    const { id, pacing } = connection
    this.#counters.bytesOut += bytes
    if (this.#observer !== undefined) {
      if (bytes > 0) this.#observer.answering(id)
      if (!connection.busy && !connection.gone) this.#observer.idle(id)
    }
    if (pacing.wantsFeedback?.(now) && !connection.gone) this.#feedback?.watch(connection)
  }

  flushed(replies: number): void {
    this.#counters.replies += replies
    this.closing.flushed()
  }

  closed(connection: Connection): void {
    this.#connections.delete(connection.id)
    this.#observer?.closed(connection.id)
    const now = performance.now()
    this.#closed.add(connection.id, now)
    this.#keepAlive.closed(connection, now)
  }

  deferred(connection: Connection): void {
    this.#keepAlive.deferred(connection)
    this.#observer?.deferred(connection.id)
  }

  deal(message: Message, connection: Connection): void {
    if (connection.upload !== undefined) return connection.upload.receive(message)
    switch (message.kind) {
      case 'request':
      case 'streamed':
        return this.#intake.accept(message, connection)
      case 'part':
        return this.#intake.refusePart(message, connection)
      case 'handshake':
        return this.#intake.acceptHandshake(message, connection)
      case 'socket':
        // A client that speaks HTTP and is not answered yet would find our messages within the answer.
        if (connection.busy || !this.#intake.acceptSocket(message, connection)) return this.#refuse(connection)
        // It waits for no answer: it must not get a 502, whatever becomes of this process.
        this.#observer?.answering(connection.id)
        return
      default:
        this.#refuse(connection)
    }
  }

  /** What a client sent behind its last request is not looked at, but the file of an upload is deleted. */
  drop(message: Message): void {
    this.#counters.rejected++
    this.#intake.discard(message)
  }

  stalled({ mode, undecided }: Pacing): void {
    if (mode !== 'estimate' || undecided === true) return
    this.#stallWarning.say(
      () =>
        `mongrel2-fetch slows a stream down to ${this.#settings.minClientRate} bytes a second (minClientRate), since nobody tells what its client ` +
        `has read: ${this.#advice}`,
    )
  }

  /** Asks for connections that may be gone, and forgets those of which nothing has to be remembered. */
  sweep(): void {
    const now = performance.now()
    if (this.closing.pulling) this.#keepAlive.ask(now)
    for (const connection of this.#connections.values()) {
      if (!connection.isIdle(now)) continue
      this.#connections.delete(connection.id)
      this.#observer?.forgotten(connection.id)
    }
    if (this.#connections.size === 0 && !this.#keepAlive.draining) this.#stopTimers()
  }

  #deal(message: Message, unwrittenBytes: number | undefined): void {
    const { kind } = message
    if (kind === 'notice') return this.#notice(message)
    const connection = this.#connectionOf(message, unwrittenBytes)
    if (connection !== undefined && this.left.delete(connection.id)) {
      // An answer to this request would be taken for the answer to the one that was left open.
      this.#intake.discard(message)
      return this.#refuse(connection)
    }
    if (connection?.frames?.takes === kind) return connection.frames.receive(message)
    // A body under way belongs to a request that was accepted before.
    if (connection === undefined || (connection.ignoresInput && connection.upload === undefined)) this.drop(message)
    else if (!connection.crowded) this.deal(message, connection)
    else if (!connection.hold(message)) this.drop(message)
  }

  /** Frames without a handshake of ours, and sockets that nobody serves: they can only be closed. */
  #refuse(connection: Connection): void {
    this.#counters.rejected++
    connection.close()
  }

  /** A notice is never answered: a reply to a connection that is gone brings another. */
  #notice({ connectionId, headers }: Message): void {
    const connection = this.#connections.get(connectionId)
    const credits = headers.own('DOWNLOAD_CREDITS')
    if (credits === undefined) {
      this.left.delete(connectionId)
      if (this.#keepAlive.gone(connectionId)) return
    } else this.#learnFlowControl() // message sockets are not told when they begin
    if (connection === undefined || (credits !== undefined && !CREDITS.test(credits))) this.#counters.ignored++
    else if (credits !== undefined) connection.outbox.credited(Number(credits))
    else {
      if (connection.busy && connection.pacing.mayBeOverrun?.(performance.now())) this.#warnOfOverrun()
      this.#lose(connection, LEFT)
    }
  }

  #lose(connection: Connection, reason: string): void {
    this.#connections.delete(connection.id)
    this.#observer?.forgotten(connection.id)
    connection.lose(new DOMException(reason, 'AbortError'))
    this.closing.connectionGone()
  }

  #publish(replies: Reply[]): void {
    this.#counters.replies += replies.length
    if (replies.length > 0) this.publisher.publish(replies)
  }

  #learnFlowControl(): void {
    if (this.#flowControl) return
    this.#flowControl = true
    this.#observer?.flowControl()
  }

  /** The message's connection; undefined for one that we have closed. */
  #connectionOf({ connectionId, sender, headers }: Message, unwrittenBytes = 0): Connection | undefined {
    const known = this.#connections.get(connectionId)
    if (known !== undefined) return known
    if (this.#closed.has(connectionId)) return undefined
    const { prefix, maxPipelined } = this.#settings
    if (!sender.startsWith(prefix)) {
      this.#warning.say(
        () =>
          `mongrel2-fetch cannot answer: Mongrel2 takes only replies whose SENDER begins with its Handler's recv_ident, ${JSON.stringify(prefix)}, ` +
          `but the send_ident is ${JSON.stringify(sender)}: set recv_ident to ''`,
      )
    }
    // The setting is one for all of Mongrel2, and only a connection's first request tells.
    if (headers.own('DOWNLOAD_CREDITS') !== undefined) this.#learnFlowControl()
    // Behind a dispatcher, another process may have published for a connection that is new here.
    const fresh = this.#observer === undefined && connectionId > this.#newest
    const pacing = this.#createPacing(unwrittenBytes, fresh)
    this.#newest = Math.max(this.#newest, connectionId)
    const connection = new Connection(connectionId, sender, pacing, maxPipelined, this)
    this.#connections.set(connectionId, connection)
    this.#sweeper ??= setInterval(() => this.sweep(), SWEEP_INTERVAL).unref()
    this.#keepAlive.start()
    return connection
  }

  /** @param fresh Whether nothing was published for the connection before. */
  #createPacing(unwrittenBytes: number, fresh: boolean): Pacing {
    if (this.#flowControl) return new CreditPacing(unwrittenBytes)
    if (this.#feedback === undefined) return new EstimatePacing(this.#settings, this.#waitingBudget)
    return new ControlPacing(this.#settings, this.#waitingBudget, this.#feedback.port, fresh)
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

  #stopTimers(): void {
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
    this.#keepAlive.stop()
  }
}
