import { Push, Subscriber } from 'zeromq'
import { socketEvents } from '../link/zeromq/connection.ts'
import { describeError, escapeBytes, type Logger } from '../runtime/log.ts'
import { tickEnd } from '../runtime/promises.ts'
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
  /** Ends when everything before has been sent: a socket takes one message at a time. */
  #sending: Promise<void> = Promise.resolve()
  readonly #closed = Promise.all([lastEvent(this.#push), lastEvent(this.#subscriber)])
  #closing = false

  private constructor(settings: HandlerSettings, logger: Logger) {
    this.#settings = settings
    this.#logger = logger
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

  /** Resolves when ZeroMQ has taken the message, which it does when somebody is there to pull it. */
  send(connectionId: number, path: string, fields: MessageFields, body: Uint8Array): Promise<void> {
    const { sendIdent, protocol } = this.#settings
    const message = renderMessage(sendIdent, connectionId, path, fields, body, protocol)
    this.#sending = this.#sending.then(() => this.#push.send(message)).catch(() => {}) // it is closed
    return this.#sending
  }

  /** Says that a client has left. */
  notifyLeave(connectionId: number): void {
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
