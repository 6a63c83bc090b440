import { Push, Subscriber } from 'zeromq'
import { socketEvents } from '../link/zeromq/connection.ts'
import { describeError, escapeBytes, type Logger, ThrottledWarning } from '../runtime/log.ts'
import { deferred, tickEnd } from '../runtime/promises.ts'
import { HANDLER_TARGETS } from '../wire/limits.ts'
import { MalformedError } from '../wire/malformed.ts'
import { type MessageFields, renderMessage } from '../wire/message.ts'
import { type ParsedReply, parseReply } from '../wire/reply.ts'
import type { HandlerSettings } from './options.ts'

const NOTICE_PATH = '@*'
/** New requests are refused while this many bytes of messages wait to be pulled. */
const MAX_WAITING = 32 * 1024 * 1024

/** A message that ZeroMQ has not taken. */
interface WaitingMessage {
  /** Whether it is the first message of its connection. */
  readonly first: boolean
  readonly bytes: Buffer
  /** Called when ZeroMQ has taken it, or it was dropped. */
  done(): void
}

/** Resolves with the last event of a socket's monitor (`zmq_socket_monitor`), which comes after its listener has closed. */
async function lastEvent(socket: Push | Subscriber): Promise<void> {
  for await (const { type } of socketEvents(socket)) if (type === 'end') break
}

/** A Handler: the two sockets that Mongrel2 binds for it, one for messages and one for replies. */
export class Handler {
  readonly #settings: HandlerSettings
  readonly #logger: Logger
  readonly #push = new Push({ linger: 0 })
  readonly #subscriber = new Subscriber({ linger: 0 })
  /** By connection. A socket takes one message at a time; the connection that began to wait first is sent first. */
  readonly #waiting = new Map<number, WaitingMessage[]>()
  #waitingBytes = 0
  #sending = false
  readonly #full: ThrottledWarning
  readonly #closed = Promise.all([lastEvent(this.#push), lastEvent(this.#subscriber)])
  #closing = false

  private constructor(settings: HandlerSettings, logger: Logger) {
    this.#settings = settings
    this.#logger = logger
    this.#full = new ThrottledWarning(logger)
  }

  /** Binds both sockets; throws ZeroMQ's errors. `receive` is called for each reply in order, and must not throw. */
  static async bind(
    settings: HandlerSettings,
    logger: Logger,
    receive: (reply: ParsedReply) => void,
  ): Promise<Handler> {
    const handler = new Handler(settings, logger)
    try {
      await handler.#push.bind(settings.sendSpec)
      await handler.#subscriber.bind(settings.recvSpec)
    } catch (error) {
      await handler.close()
      throw error
    }
    handler.#subscriber.subscribe(settings.recvIdent)
    handler.#read(receive).catch((error: unknown) => {
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

  /** Resolves when ZeroMQ has taken the message for a handler that pulls, or when the client has left. */
  async send(
    connectionId: number,
    path: string,
    fields: MessageFields,
    body: Uint8Array,
    first = false,
  ): Promise<void> {
    const { sendIdent, protocol } = this.#settings
    const bytes = renderMessage({ sender: sendIdent, connectionId, path }, fields, body, protocol)
    const { promise, resolve } = deferred()
    const waiting = this.#waiting.get(connectionId) ?? []
    waiting.push({ first, bytes, done: resolve })
    this.#waiting.set(connectionId, waiting)
    this.#waitingBytes += bytes.length
    if (!this.#sending) void this.#sendAll()
    await promise
  }

  /** Drops the waiting messages of a client that has left, and tells the handler if it knows the connection. */
  notifyLeave(connectionId: number): void {
    const dropped = this.#waiting.get(connectionId)?.splice(0) ?? []
    this.#waiting.delete(connectionId)
    for (const message of dropped) this.#finish(message)
    if (dropped[0]?.first === true) return
    void this.send(connectionId, NOTICE_PATH, new Map([['METHOD', 'JSON']]), Buffer.from('{"type":"disconnect"}'))
  }

  /** Tells the handler how many bytes the client's socket has taken. */
  notifyCredits(connectionId: number, bytes: number): void {
    const fields = new Map([
      ['METHOD', 'JSON'],
      ['DOWNLOAD_CREDITS', String(bytes)],
    ])
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
          await this.#push.send(next.bytes)
        } catch {} // it is closed
        this.#finish(next)
      }
      if (this.#waiting.get(id) === messages) this.#waiting.delete(id)
    }
    this.#sending = false
  }

  #finish({ bytes, done }: WaitingMessage): void {
    this.#waitingBytes -= bytes.length
    done()
  }

  async #read(receive: (reply: ParsedReply) => void): Promise<void> {
    for await (const parts of this.#subscriber) {
      // Each part is a reply, as for Mongrel2.
      for (const part of parts) {
        const reply = this.#parse(part)
        if (reply !== undefined) receive(reply)
      }
      // Lets the sockets' write callbacks run before the next replies are counted against the limits.
      await tickEnd()
    }
  }

  #parse(bytes: Buffer): ParsedReply | undefined {
    try {
      return parseReply(bytes, HANDLER_TARGETS)
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
      this.#logger.error?.(
        `mongrel2-fetch front: dropped a reply that Mongrel2 could not read, and might end with a crash on: ${error.message}: ` +
          escapeBytes(bytes),
      )
      return undefined
    }
  }
}
