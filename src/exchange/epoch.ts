import { type Deferred, deferred } from '../deferred.ts'
import type { LinkEpoch, Publisher } from '../link/link.ts'
import { describeError, escapeBytes, type Logger, ThrottledWarning } from '../log.ts'
import { MalformedError } from '../wire/malformed.ts'
import { type Message, parseMessage } from '../wire/message.ts'
import type { Application } from './application.ts'
import { ClosedConnections } from './closed-connections.ts'
import { Connection, type ConnectionOwner } from './connection.ts'
import type { Intake } from './intake.ts'
import { kindOf } from './kind.ts'
import { CreditPacing, EstimatePacing } from './pacing.ts'

/** How often connections that need no memory are forgotten, in milliseconds. */
const SWEEP_INTERVAL = 1000

/** The client left, or its Mongrel2 did. */
const LEFT = 'the client left before the response was complete'

/**
 * One life of a Mongrel2: its connections and what is published to them. Connection numbers mean something within an epoch
 * only; when it ends, everything of it ends.
 */
export class Epoch implements LinkEpoch, ConnectionOwner {
  readonly publisher: Publisher
  readonly #prefix: string
  readonly #intake: Intake
  readonly #application: Application
  readonly #logger: Logger
  readonly #warning: ThrottledWarning
  readonly #connections = new Map<number, Connection>()
  readonly #closed = new ClosedConnections()
  #touched: Connection[] = []
  #turn: NodeJS.Immediate | undefined
  #sweeper: NodeJS.Timeout | undefined
  #quiet: Deferred<void> | undefined
  #flowControl: boolean
  #lost = false

  /**
   * @param prefix What Mongrel2 subscribed to.
   * @param flowControl Whether it is known to run with `download.flow_control`; otherwise its messages tell.
   */
  constructor(
    publisher: Publisher,
    prefix: string,
    flowControl: boolean,
    intake: Intake,
    application: Application,
    logger: Logger,
  ) {
    this.publisher = publisher
    this.#prefix = prefix
    this.#flowControl = flowControl
    this.#intake = intake
    this.#application = application
    this.#logger = logger
    this.#warning = new ThrottledWarning(logger)
  }

  /** Connections that state is kept for. */
  get connections(): number {
    return this.#connections.size
  }

  receive(bytes: Buffer): void {
    this.#application.counters.messages++
    try {
      this.#deal(parseMessage(bytes))
    } catch (error) {
      if (error instanceof MalformedError) {
        this.#application.counters.malformed++
        this.#warning.say(() => `mongrel2-fetch dropped a malformed message, ${error.message}: ${escapeBytes(bytes)}`)
      } else this.#logger.error?.(`mongrel2-fetch: a message could not be handled: ${describeError(error)}`)
    }
  }

  lost(): void {
    if (this.#lost) return
    this.#lost = true
    clearImmediate(this.#turn)
    clearInterval(this.#sweeper)
    const reason = new DOMException('Mongrel2 went away before the response was complete', 'AbortError')
    for (const connection of this.#connections.values()) connection.lose(reason)
    this.#connections.clear()
    this.#quiet?.resolve()
  }

  /** Refuses the uploads that Mongrel2 has begun to store: their end will not come here. */
  refuseUploads(): void {
    for (const connection of this.#connections.values()) {
      connection.upload?.refuse(503, 'The server is stopping')
      connection.upload = undefined
    }
  }

  /** Resolves when everything there was to say has been published, or Mongrel2 is gone. */
  async drained(): Promise<void> {
    this.flush()
    if (!this.#lost && this.#isBusy()) {
      this.#quiet ??= deferred()
      await this.#quiet.promise
    }
  }

  /** Closes the connections that still wait for an answer or the rest of one. */
  cutBusy(): void {
    for (const connection of this.#connections.values()) if (connection.busy) connection.cut()
    this.flush()
  }

  touch(connection: Connection): void {
    this.#touched.push(connection)
    this.#turn ??= setImmediate(() => this.flush())
  }

  closed(connection: Connection): void {
    this.#connections.delete(connection.id)
    this.#closed.add(connection.id, performance.now())
  }

  /** Publishes what the connections have to say, all of it together. */
  flush(): void {
    clearImmediate(this.#turn)
    this.#turn = undefined
    if (this.#lost) return
    const touched = this.#touched
    this.#touched = []
    const replies: Buffer[] = []
    const { counters } = this.#application
    const now = performance.now()
    for (const connection of touched) counters.bytesOut += connection.take(replies, now)
    counters.replies += replies.length
    if (replies.length > 0) this.publisher.publish(replies)
    if (this.#quiet !== undefined && !this.#isBusy()) this.#quiet.resolve()
  }

  #isBusy(): boolean {
    for (const connection of this.#connections.values()) if (connection.busy) return true
    return false
  }

  #deal(message: Message): void {
    const kind = kindOf(message)
    if (kind === 'notice') return this.#notice(message)
    const connection = this.#connectionOf(message)
    // The end of an upload belongs to a request that was heard before.
    if (connection === undefined || (connection.deaf && connection.upload === undefined)) return this.#drop(message)
    switch (kind) {
      case 'request':
        return this.#intake.accept(message, connection)
      case 'handshake':
        return this.#intake.refuse(this.#intake.open(message, connection), 501, 'WebSockets are not supported')
      default:
        // Frames without a handshake of ours, and sockets that are not HTTP: there is nothing to answer but the end.
        this.#application.counters.rejected++
        connection.close()
    }
  }

  /** A notice is never answered: a reply to a connection that is gone brings another. */
  #notice(message: Message): void {
    const connection = this.#connections.get(message.connectionId)
    if (connection === undefined) return
    const credits = message.own.get('DOWNLOAD_CREDITS')
    if (credits !== undefined) {
      if (/^\d{1,10}$/.test(credits)) connection.credit(Number(credits))
      return
    }
    this.#connections.delete(connection.id)
    connection.lose(new DOMException(LEFT, 'AbortError'))
  }

  /** The message's connection; undefined for one that we have closed. */
  #connectionOf(message: Message): Connection | undefined {
    const { connectionId, sender, own } = message
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
    if (own.has('DOWNLOAD_CREDITS')) this.#flowControl = true
    const pacing = this.#flowControl ? new CreditPacing() : new EstimatePacing()
    const connection = new Connection(connectionId, sender, pacing, this)
    this.#connections.set(connectionId, connection)
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_INTERVAL).unref()
    return connection
  }

  /** What a client sent behind a request that was its last is not looked at, but for the file it may leave behind. */
  #drop(message: Message): void {
    this.#application.counters.rejected++
    this.#intake.discard(message)
  }

  #sweep(): void {
    const now = performance.now()
    for (const connection of this.#connections.values()) {
      if (connection.isIdle(now)) this.#connections.delete(connection.id)
    }
    if (this.#connections.size > 0) return
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
  }
}
