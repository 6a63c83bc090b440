import type { IncomingFrames } from '../connection/carried.ts'
import type { Connection } from '../connection/connection.ts'
import { MessageSender } from '../connection/message-sender.ts'
import type { Budget, SharedMessage } from '../connection/shared-message.ts'
import { CallContext, trackPromises } from '../runtime/call-context.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { describeError, type Logger } from '../runtime/log.ts'
import { copyOf } from '../wire/bytes.ts'
import { FLOW_CONTROL_WINDOW } from '../wire/limits.ts'
import type { Message } from '../wire/message.ts'
import type { MessageConnection, MessageHandlers } from './types.ts'

const JSON_TEXT = new TextDecoder('utf-8', { fatal: true })
const XML_TEXT = new TextDecoder()

/** What a message socket needs of the options. */
interface MessageSocketSettings {
  readonly maxBufferedBytes: number
  readonly logger: Logger
}

/** A connection on which a client sends JSON or XML messages. The user gets it as `MessageConnection`. */
export class MessageSocket extends MessageSender implements IncomingFrames, MessageConnection {
  readonly takes = 'socket'
  readonly sender: string
  readonly connectionId: number
  readonly pattern: string
  readonly remoteAddress: string
  readonly #connection: Connection
  readonly #handlers: MessageHandlers
  readonly #settings: MessageSocketSettings
  /** The handlers' async context, as `open` has left it. */
  #context: CallContext
  #isOpen = true

  constructor(
    first: Message,
    connection: Connection,
    handlers: MessageHandlers,
    settings: MessageSocketSettings,
    context: CallContext,
  ) {
    super(connection, 'messages')
    this.sender = connection.sender
    this.connectionId = connection.id
    this.pattern = first.headers.own('PATTERN') ?? ''
    this.remoteAddress = first.headers.own('REMOTE_ADDR') ?? ''
    this.#connection = connection
    this.#handlers = handlers
    this.#settings = settings
    this.#context = context
    trackPromises()
    connection.outbox.encoding = handlers.rawPayload === true ? 'raw' : 'base64'
  }

  /** Opens it with its first message. */
  begin(first: Message): void {
    this.#call(() => {
      try {
        return this.#handlers.open?.(this)
      } finally {
        this.#context = new CallContext(true)
      }
    })
    this.receive(first)
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  get bufferedAmount(): number {
    return this.undelivered(performance.now())
  }

  get ended(): boolean {
    return !this.#isOpen
  }

  send(data: string | ArrayBuffer | ArrayBufferView): void {
    const bytes = copyOf(data)
    if (!this.#isOpen || bytes.length === 0) return
    if (!this.#isDeliverable(bytes)) {
      throw new Mongrel2Error(
        'over_budget',
        `expected a message of at most ${FLOW_CONTROL_WINDOW} bytes with download.flow_control, got ${this.#connection.outbox.sizeOf(bytes)}`,
      )
    }
    const { maxBufferedBytes } = this.#settings
    if (this.hasRoom(bytes.length, 0, maxBufferedBytes, performance.now())) this.write(bytes, bytes.length)
    else this.cutFull(maxBufferedBytes, 'message socket', (error) => this.#report(error))
  }

  deliver({ payload }: SharedMessage, { maxBufferedBytes, whenSlow }: Budget, now: number): void {
    const { length } = payload
    if (!this.#isOpen || length === 0) return
    if (this.#isDeliverable(payload) && this.hasRoom(length, 0, maxBufferedBytes, now)) {
      this.writeShared(payload, length)
    } else if (whenSlow === 'close') this.close()
  }

  close(): void {
    this.#connection.close()
  }

  receive(message: Message): void {
    const { json, xml } = this.#handlers
    const { path: route, body } = message
    if (!this.#isOpen) return
    this.#connection.pacing.messageReceived?.(performance.now())
    if (message.cut) return this.close()
    if (message.headers.own('METHOD') === 'XML') {
      if (xml === undefined) return this.close()
      const data = XML_TEXT.decode(body)
      return this.#call(() => this.#handlers.xml?.({ route, data }, this))
    }
    if (json === undefined) return this.close()
    let data: unknown
    try {
      data = JSON.parse(JSON_TEXT.decode(body))
    } catch {
      // The client's mistake is no error of ours: it is not reported.
      return this.close()
    }
    this.#call(() => this.#handlers.json?.({ route, data }, this))
  }

  lost(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.runEndings()
    this.#call(() => this.#handlers.close?.(this))
  }

  /** The protocol has no closing handshake. */
  async goAway(): Promise<void> {}

  end(): void {
    this.#connection.close()
  }

  /** Whether Mongrel2 can deliver a message of this size. */
  #isDeliverable(bytes: Uint8Array): boolean {
    return this.#connection.pacing.mode !== 'credits' || this.#connection.outbox.sizeOf(bytes) <= FLOW_CONTROL_WINDOW
  }

  #call(handler: () => unknown, failed = (error: unknown) => this.#report(error)): void {
    try {
      const result = this.#context.run(handler)
      if (result instanceof Promise) result.catch(failed)
    } catch (error) {
      failed(error)
    }
  }

  #report(error: unknown): void {
    const { logger } = this.#settings
    logger.error?.(`mongrel2-fetch: a message socket's handler failed: ${describeError(error)}`)
    this.#call(
      () => this.#handlers.error?.(error, this),
      (failure) => logger.error?.(`mongrel2-fetch: messages.error failed: ${describeError(failure)}`),
    )
  }
}
