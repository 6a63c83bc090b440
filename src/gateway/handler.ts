import type { Push, Subscriber } from 'zeromq'
import { Binding } from '../link/inproc/binding.ts'
import { isInproc } from '../link/inproc/transport.ts'
import { socketEvents } from '../link/zeromq/connection.ts'
import { describeError, escapeBytes, type Logger, ThrottledWarning } from '../runtime/log.ts'
import { libzmq } from '../runtime/process/libzmq.ts'
import { deferred, tickEnd } from '../runtime/promises.ts'
import { HANDLER_TARGETS } from '../wire/limits.ts'
import { MalformedError } from '../wire/malformed.ts'
import { createMessage, type Message, renderMessage } from '../wire/message.ts'
import { type ParsedReply, parseReply, type Reply, renderReply } from '../wire/reply.ts'
import type { HandlerSettings } from './options.ts'

const NOTICE_PATH = '@*'
/** New requests are refused while this many bytes of messages wait to be pulled. */
const MAX_WAITING = 32 * 1024 * 1024

/** A message that was not taken yet. */
interface WaitingMessage {
  /** Whether it is the first message of its connection. */
  readonly first: boolean
  readonly message: Message
  readonly size: number
  /** Called when it was taken or dropped. */
  done(): void
}

/** Resolves with the last event of a socket's monitor (`zmq_socket_monitor`), which comes after its listener has closed. */
async function lastEvent(socket: Push | Subscriber): Promise<void> {
  for await (const { type } of socketEvents(socket)) if (type === 'end') break
}

/** A Handler: what Mongrel2 binds for it, a socket for messages and one for replies. Messages may stay in this process. */
export class Handler {
  readonly #settings: HandlerSettings
  readonly #logger: Logger
  readonly #push: Push | Binding
  readonly #subscriber: Subscriber = new (libzmq().Subscriber)({ linger: 0 })
  /** By connection. A socket takes one message at a time; the connection that began to wait first is sent first. */
  readonly #waiting = new Map<number, WaitingMessage[]>()
  #waitingBytes = 0
  #sending = false
  readonly #full: ThrottledWarning
  readonly #receive: (reply: ParsedReply) => void
  readonly #closed: Promise<unknown>
  #closing = false

  private constructor(settings: HandlerSettings, logger: Logger, receive: (reply: ParsedReply) => void) {
    this.#settings = settings
    this.#logger = logger
    this.#full = new ThrottledWarning(logger)
    this.#receive = receive
    const { sendSpec, recvSpec, recvIdent } = settings
    this.#push = isInproc(sendSpec)
      ? new Binding([sendSpec, recvSpec], recvIdent, (replies) => this.#take(replies))
      : new (libzmq().Push)({ linger: 0 })
    this.#closed = Promise.all([this.#push instanceof Binding || lastEvent(this.#push), lastEvent(this.#subscriber)])
  }

  /** Binds both sockets; throws ZeroMQ's errors. `receive` is called for each reply in order, and must not throw. */
  static async bind(
    settings: HandlerSettings,
    logger: Logger,
    receive: (reply: ParsedReply) => void,
  ): Promise<Handler> {
    const handler = new Handler(settings, logger, receive)
    try {
      if (!(handler.#push instanceof Binding)) await handler.#push.bind(settings.sendSpec)
      await handler.#subscriber.bind(settings.recvSpec)
    } catch (error) {
      await handler.close()
      throw error
    }
    handler.#subscriber.subscribe(settings.recvIdent)
    handler.#read().catch((error: unknown) => {
      if (!handler.#closing) logger.error?.(`mongrel2-fetch front: no more replies are read: ${describeError(error)}`)
    })
    return handler
  }

  /** Whether another request may be sent; logs a warning if not. */
  admits(): boolean {
    if (this.#waitingBytes < MAX_WAITING) return true
    this.#full.say(() => `mongrel2-fetch front: answered 503, since ${this.#waitingBytes} bytes wait to be pulled`)
    return false
  }

  /** Resolves when the message is taken for a handler that pulls, or when the client has left; undefined when that is now. */
  send(
    connectionId: number,
    path: string,
    fields: readonly string[],
    body: Buffer,
    first = false,
  ): Promise<void> | undefined {
    const message = createMessage({ sender: this.#settings.sendIdent, connectionId, path }, fields, body)
    if (!this.#sending && this.#push instanceof Binding && this.#push.deal(message)) return undefined
    const size = message.headers.size + body.length
    const { promise, resolve } = deferred()
    const waiting = this.#waiting.get(connectionId) ?? []
    waiting.push({ first, message, size, done: resolve })
    this.#waiting.set(connectionId, waiting)
    this.#waitingBytes += size
    if (!this.#sending) void this.#sendAll()
    return promise
  }

  /** Drops the waiting messages of a client that has left, and tells the handler if it knows the connection. */
  notifyLeave(connectionId: number): void {
    const dropped = this.#waiting.get(connectionId)?.splice(0) ?? []
    this.#waiting.delete(connectionId)
    for (const message of dropped) this.#finish(message)
    if (dropped[0]?.first === true) return
    void this.send(connectionId, NOTICE_PATH, ['METHOD', 'JSON'], Buffer.from('{"type":"disconnect"}'))
  }

  /** Tells the handler how many bytes the client's socket has taken. */
  notifyCredits(connectionId: number, bytes: number): void {
    const fields = ['METHOD', 'JSON', 'DOWNLOAD_CREDITS', String(bytes)]
    void this.send(connectionId, NOTICE_PATH, fields, Buffer.from('{"type":"credits"}'))
  }

  /** Closes both sockets; resolves when their addresses can be bound again. */
  async close(): Promise<void> {
    this.#closing = true
    this.#push.close()
    this.#subscriber.close()
    await this.#closed
  }

  async #sendAll(): Promise<void> {
    this.#sending = true
    // The loop also visits entries that are added meanwhile.
    for (const [id, messages] of this.#waiting) {
      for (let next = messages.shift(); next !== undefined; next = messages.shift()) {
        try {
          if (this.#push instanceof Binding) await this.#push.send(next.message)
          else await this.#push.send(renderMessage(next.message, this.#settings.protocol))
        } catch {} // it is closed
        this.#finish(next)
      }
      if (this.#waiting.get(id) === messages) this.#waiting.delete(id)
    }
    this.#sending = false
  }

  #finish({ size, done }: WaitingMessage): void {
    this.#waitingBytes -= size
    done()
  }

  async #read(): Promise<void> {
    for await (const parts of this.#subscriber) {
      // Each part is a reply, as for Mongrel2.
      this.#take(parts)
      // Lets the sockets' write callbacks run before the next replies are counted against the limits.
      await tickEnd()
    }
  }

  #take(replies: readonly Reply[]): void {
    for (const reply of replies) {
      const parsed = this.#parse(reply)
      if (parsed !== undefined) this.#receive(parsed)
    }
  }

  #parse(reply: Reply): ParsedReply | undefined {
    try {
      return parseReply(reply, HANDLER_TARGETS)
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
      this.#logger.error?.(
        `mongrel2-fetch front: dropped a reply that Mongrel2 could not read, and might end with a crash on: ${error.message}: ` +
          escapeBytes(renderReply(reply)),
      )
      return undefined
    }
  }
}
