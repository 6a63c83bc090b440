import { Push, Subscriber } from 'zeromq'
import { socketEvents } from '../link/zeromq/connection.ts'
import { describeError, escapeBytes, type Logger, ThrottledWarning } from '../runtime/log.ts'
import { deferred, tickEnd } from '../runtime/promises.ts'
import { HANDLER_TARGETS } from '../wire/limits.ts'
import { MalformedError } from '../wire/malformed.ts'
import { type HeaderProtocol, type MessageFields, renderMessage } from '../wire/message.ts'
import { type ParsedReply, parseReply } from '../wire/reply.ts'

/** One Handler of a configuration, by Mongrel2's names. */
export interface HandlerSettings {
  readonly sendSpec: string
  readonly recvSpec: string
  readonly sendIdent: string
  readonly recvIdent: string
  readonly protocol: HeaderProtocol
}

const NOTICE_PATH = '@*'
/** Bytes of messages that may wait to be pulled when another request is taken. */
const MAX_WAITING = 32 * 1024 * 1024

/** A message that ZeroMQ has not taken. */
interface WaitingMessage {
  /** Whether the handler does not know of the connection before this message. */
  readonly first: boolean
  readonly bytes: Buffer
  /** Called when ZeroMQ has taken it, or nobody wants it any more. */
  done(): void
}

/** Resolves when a socket's monitor (`zmq_socket_monitor`) has nothing more to say, which is behind the end of its listener. */
async function lastEvent(socket: Push | Subscriber): Promise<void> {
  for await (const { type } of socketEvents(socket)) if (type === 'end') break
}

/** A Handler: the two sockets that Mongrel2 binds for it, messages out of the one and replies in at the other. */
export class Handler {
  readonly #settings: HandlerSettings
  readonly #logger: Logger
  readonly #push = new Push({ linger: 0 })
  readonly #subscriber = new Subscriber({ linger: 0 })
  /** By connection, since a socket takes one message at a time: what begins to wait first goes out first. */
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

  /**
   * Binds both sockets.
   *
   * @param receive Called for each reply in the order of arrival; must not throw.
   * @throws Error of zeromq.js when an address cannot be bound, such as `EADDRINUSE`.
   */
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

  /** Whether another request may be sent; says in the log that none may. */
  admits(): boolean {
    if (this.#waitingBytes < MAX_WAITING) return true
    this.#full.say(() => `mongrel2-fetch front: answered 503, since ${this.#waitingBytes} bytes wait to be pulled`)
    return false
  }

  /**
   * Resolves when ZeroMQ has taken the message, which it does when somebody is there to pull it, or when the client has left.
   *
   * @param first Whether it is the first message of its connection.
   */
  async send(
    connectionId: number,
    path: string,
    fields: MessageFields,
    body: Uint8Array,
    first = false,
  ): Promise<void> {
    const { sendIdent, protocol } = this.#settings
    const bytes = renderMessage(sendIdent, connectionId, path, fields, body, protocol)
    const { promise, resolve } = deferred()
    const waiting = this.#waiting.get(connectionId) ?? []
    waiting.push({ first, bytes, done: resolve })
    this.#waiting.set(connectionId, waiting)
    this.#waitingBytes += bytes.length
    if (!this.#sending) void this.#sendAll()
    await promise
  }

  /** Drops what waits of a client that has left, and says so to the handler if it knows of that client. */
  notifyLeave(connectionId: number): void {
    const dropped = this.#waiting.get(connectionId)?.splice(0) ?? []
    this.#waiting.delete(connectionId)
    for (const message of dropped) this.#finish(message)
    if (dropped[0]?.first === true) return
    void this.send(connectionId, NOTICE_PATH, new Map([['METHOD', 'JSON']]), Buffer.from('{"type":"disconnect"}'))
  }

  /** Says that a client's stream has taken so many bytes. */
  notifyCredits(connectionId: number, bytes: number): void {
    const fields = new Map([
      ['METHOD', 'JSON'],
      ['DOWNLOAD_CREDITS', String(bytes)],
    ])
    void this.send(connectionId, NOTICE_PATH, fields, Buffer.from('{"type":"credits"}'))
  }

  /** Closes both sockets; resolves when libzmq has done so, and their addresses can be bound again. */
  async close(): Promise<void> {
    this.#closing = true
    this.#push.close()
    this.#subscriber.close()
    await this.#closed
  }

  async #sendAll(): Promise<void> {
    this.#sending = true
    // What begins to wait meanwhile comes into this loop, too.
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
      // Mongrel2 takes each part for a reply.
      for (const part of parts) {
        const reply = this.#parse(part)
        if (reply !== undefined) receive(reply)
      }
      // What came together is queued together; what comes next finds written what the sockets have taken at once.
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
