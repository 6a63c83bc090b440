import type { LinkEpoch } from '../link/link.ts'
import type { Publisher, Received } from '../link/transport.ts'
import { describeError, escapeBytes, type Logger, ThrottledWarning } from '../runtime/log.ts'
import { NumberMap, type ReadonlyNumberMap } from '../runtime/number-map.ts'
import { MalformedError } from '../wire/malformed.ts'
import { type Message, parseMessage, renderMessage } from '../wire/message.ts'
import { closeReply, type Reply } from '../wire/reply.ts'
import type { Probe } from '../wire/websocket/frames.ts'
import { ClosedConnections, type LeftConnections, leave } from './closed-connections.ts'
import { EpochClosing } from './closing.ts'
import { Connection, type ConnectionOwner } from './connection.ts'
import { KeepAlive, SWEEP_INTERVAL } from './keep-alive.ts'
import { ControlPacing } from './pacing/control-pacing.ts'
import { CreditPacing } from './pacing/credit-pacing.ts'
import { EstimatePacing, type EstimateSettings, type WaitingBudget } from './pacing/estimate-pacing.ts'
import { Feedback, type FeedbackSource } from './pacing/feedback.ts'
import type { Pacing } from './pacing/pacing.ts'
import type { TokenPlace } from './token.ts'
import { Turn, type TurnOwner } from './turn.ts'

/** Mongrel2 counts credits in a C `int`. */
const CREDITS = /^\d{1,10}$/

interface EpochSettings extends EstimateSettings {
  /** What Mongrel2 subscribed to, its `recv_ident`. */
  readonly prefix: string
  /** Whether Mongrel2 is known to run with `download.flow_control`; otherwise its messages tell. */
  readonly flowControl: boolean
  /** Requests of one connection that are handled at once. */
  readonly maxPipelined: number
  /** Milliseconds between two keep-alive messages to Mongrel2 for connections with an open request. */
  readonly keepAliveInterval: number
  readonly place: TokenPlace
  /** Connections that a reply may name: Mongrel2's `limits.handler_targets`. */
  readonly handlerTargets: number
  /** Connections that the epoch before left open, unless it certainly was another Mongrel2. */
  readonly left?: LeftConnections | undefined
  readonly logger: Logger
}

/** Accepts the messages that begin something: requests, handshakes and message sockets. */
export interface MessageIntake {
  /** Accepts a request, or the first message of one. */
  accept(message: Message, connection: Connection): void
  /** Accepts the handshake of a WebSocket. */
  acceptHandshake(message: Message, connection: Connection): void
  /** Accepts the first message of a message socket; false where there is no handler for it. */
  acceptSocket(message: Message, connection: Connection): boolean
  /** Refuses a part of a body whose beginning did not come here. */
  refusePart(message: Message, connection: Connection): void
  /** Deletes the file of a message that will not be handled. */
  discard(message: Message): void
  /** Refuses every request from now on. */
  stop(): void
}

/** Observes connections for a dispatcher that deals their messages. */
export interface ConnectionObserver {
  /** Output is about to be published. */
  answering(id: number): void
  /** Every request that came so far is answered, at the latest by the next reply. */
  idle(id: number): void
  /** Another process answers. */
  deferred(id: number): void
  /** The next reply closes it. */
  closed(id: number): void
  /** Its state is deleted: any process can get its next message. */
  forgotten(id: number): void
  /** Mongrel2 runs with `download.flow_control`, which only a connection's first request tells. */
  flowControl(): void
}

interface EpochParts {
  readonly intake: MessageIntake
  readonly counters: Record<'messages' | 'malformed' | 'rejected' | 'ignored' | 'replies' | 'bytesOut', number>
  /** Bounds the bytes that wait in Mongrel2 for all connections that are paced by estimate. */
  readonly waitingBudget: WaitingBudget
  /** Reads Mongrel2's control port. */
  readonly controlPort?: FeedbackSource | undefined
  readonly observer?: ConnectionObserver | undefined
}

/** One life of the Mongrel2 at a link: hands its messages to its connections. Connection ids have no meaning beyond it. */
export class Epoch implements LinkEpoch, ConnectionOwner, TurnOwner {
  readonly publisher: Publisher
  readonly place: TokenPlace
  readonly closing: EpochClosing
  /** Connections that the epoch before left open; once this one is lost, those that it leaves itself. */
  readonly left: LeftConnections
  readonly #settings: EpochSettings
  readonly #intake: MessageIntake
  readonly #counters: EpochParts['counters']
  readonly #waitingBudget: WaitingBudget
  readonly #observer: ConnectionObserver | undefined
  readonly #feedback: Feedback | undefined
  readonly #warning: ThrottledWarning
  readonly #stallWarning: ThrottledWarning
  readonly #overrunWarning: ThrottledWarning
  readonly #connections = new NumberMap<Connection>()
  readonly #closed = new ClosedConnections()
  readonly #turn: Turn
  readonly #keepAlive: KeepAlive
  #sweeper: NodeJS.Timeout | undefined
  #flowControl: boolean
  /** The highest id of a connection seen: Mongrel2 counts them up. */
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
    const vanished = (connection: Connection) => this.#lose(connection, 'Mongrel2 ended the connection')
    this.#feedback = parts.controlPort && new Feedback(parts.controlPort, this.#warning, vanished)
    this.#turn = new Turn(this, handlerTargets)
    const publish = (replies: Reply[]) => this.#publish(replies)
    this.#keepAlive = new KeepAlive(this.#connections, publish, handlerTargets, keepAliveInterval)
    this.closing = new EpochClosing(this.#connections, this.#turn, this.#keepAlive, () => parts.intake.stop())
  }

  /** The connections with state, by their numbers. */
  get connections(): ReadonlyNumberMap<Connection> {
    return this.#connections
  }

  get leaving(): boolean {
    return this.closing.leaving
  }

  get probe(): Probe {
    return this.#turn.probe
  }

  /** @param unwrittenBytes The result of `handOver` in the process that had the connection before. */
  receive(message: Received, unwrittenBytes?: number): void {
    this.#counters.messages++
    try {
      this.#deal(Buffer.isBuffer(message) ? parseMessage(message) : message, unwrittenBytes)
    } catch (error) {
      if (error instanceof MalformedError) {
        this.#counters.malformed++
        const bytes = Buffer.isBuffer(message) ? message : renderMessage(message, 'json')
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

  /** Closes the connections that the epoch before left open, which certainly was the same Mongrel2: nobody will answer them. */
  closeLeft(): void {
    const replies: Reply[] = []
    for (const [id, { sender, deferred }] of this.left) {
      if (deferred) continue
      this.left.delete(id)
      this.#closed.add(id, performance.now())
      replies.push(closeReply(sender, [id]))
    }
    this.#publish(replies)
  }

  /** Gives up a connection for another process. Returns the bytes that its `receive` needs; undefined where something is open on it. */
  handOver(id: number): number | undefined {
    const connection = this.#connections.get(id)
    const unwrittenBytes = connection === undefined ? 0 : connection.unwrittenBytes(performance.now())
    if (unwrittenBytes !== undefined) this.#connections.delete(id)
    return unwrittenBytes
  }

  /** Sets that Mongrel2 runs with `download.flow_control`, which the dispatcher knows. */
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
        // To an HTTP client that still waits for an answer, our messages would be part of it.
        if (connection.busy || !this.#intake.acceptSocket(message, connection)) return this.#refuse(connection)
        // It expects no answer, so it must not get a 502 when this process ends.
        this.#observer?.answering(connection.id)
        return
      default:
        this.#refuse(connection)
    }
  }

  /** Ignores a message, but deletes the file of its upload. */
  drop(message: Message): void {
    this.#counters.rejected++
    this.#intake.discard(message)
  }

  stalled({ mode, undecided }: Pacing): void {
    if (mode !== 'estimate' || undecided === true) return
    this.#stallWarning.say(
      () =>
        `mongrel2-fetch slows a stream down to ${this.#settings.minClientRate} bytes a second (minClientRate), since it cannot know what the client ` +
        `has read: ${this.#advice}`,
    )
  }

  /** Asks for connections that may be gone, and deletes the state of idle ones. */
  sweep(): void {
    const now = performance.now()
    if (this.closing.pulling) this.#keepAlive.ask(now)
    for (const connection of this.#connections.values()) {
      if (!connection.isIdle(now)) continue
      this.#connections.delete(connection.id)
      this.#observer?.forgotten(connection.id)
    }
    if (this.#connections.size === 0 && !this.#keepAlive.asking) this.#stopTimers()
  }

  #deal(message: Message, unwrittenBytes: number | undefined): void {
    const { kind } = message
    if (kind === 'notice') return this.#notice(message)
    const connection = this.#connectionOf(message, unwrittenBytes)
    if (connection !== undefined && this.left.delete(connection.id)) {
      // The client would take an answer to this request for the answer to the one that was left open.
      this.#intake.discard(message)
      return this.#refuse(connection)
    }
    if (connection?.frames?.takes === kind) return connection.frames.receive(message)
    // A body being received belongs to a request that was accepted.
    if (connection === undefined || (connection.ignoresInput && connection.upload === undefined)) this.drop(message)
    else if (!connection.crowded) this.deal(message, connection)
    else if (!connection.hold(message)) this.drop(message)
  }

  /** Closes a connection that cannot be answered: frames without a handshake, or a message socket without a handler. */
  #refuse(connection: Connection): void {
    this.#counters.rejected++
    connection.close()
  }

  /** Handles a notice. It is never answered: a reply to a connection that is gone brings another notice. */
  #notice({ connectionId, headers }: Message): void {
    const connection = this.#connections.get(connectionId)
    const credits = headers.own('DOWNLOAD_CREDITS')
    if (credits === undefined) {
      this.left.delete(connectionId)
      if (this.#keepAlive.gone(connectionId)) return
    } else this.#learnFlowControl() // the first message of a message socket does not tell
    if (connection === undefined || (credits !== undefined && !CREDITS.test(credits))) this.#counters.ignored++
    else if (credits !== undefined) connection.outbox.credited(Number(credits))
    else {
      if (connection.busy && connection.pacing.mayBeOverrun?.(performance.now())) {
        this.#overrunWarning.say(
          () =>
            `mongrel2-fetch: a stream was cut short because its client left or read less than ${this.#settings.minClientRate} bytes a second ` +
            `(minClientRate), which cannot be told apart: ${this.#advice}`,
        )
      }
      this.#lose(connection, 'the client left')
    }
  }

  #lose(connection: Connection, event: string): void {
    this.#connections.delete(connection.id)
    this.#observer?.forgotten(connection.id)
    connection.lose(new DOMException(`${event} before the response was complete`, 'AbortError'))
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

  /** The message's connection, made if it is new; undefined for one that we have closed. */
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
    // Only a connection's first request tells, but the setting holds for all of Mongrel2.
    if (headers.own('DOWNLOAD_CREDITS') !== undefined) this.#learnFlowControl()
    // Behind a dispatcher, another process may have published to a connection that is new here.
    const fresh = this.#observer === undefined && connectionId > this.#newest
    const pacing = this.#createPacing(unwrittenBytes, fresh)
    this.#newest = Math.max(this.#newest, connectionId)
    const connection = new Connection(connectionId, sender, pacing, maxPipelined, this)
    this.#connections.set(connectionId, connection)
    this.#sweeper ??= setInterval(() => this.sweep(), SWEEP_INTERVAL).unref()
    this.#keepAlive.start()
    return connection
  }

  /** @param fresh Whether nothing was published to the connection before. */
  #createPacing(unwrittenBytes: number, fresh: boolean): Pacing {
    if (this.#flowControl) return new CreditPacing(unwrittenBytes)
    if (this.#feedback === undefined) return new EstimatePacing(this.#settings, this.#waitingBudget)
    return new ControlPacing(this.#settings, this.#waitingBudget, this.#feedback.port, fresh)
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
