import type { IncomingFrames } from '../connection/carried.ts'
import type { Connection } from '../connection/connection.ts'
import { SendLedger } from '../connection/send-ledger.ts'
import type { Audience, Budget, SharedMessage, Subscriber } from '../connection/shared-message.ts'
import { CallContext, trackPromises } from '../runtime/call-context.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { describeError, type Logger } from '../runtime/log.ts'
import { copyOf } from '../wire/bytes.ts'
import { FLOW_CONTROL_WINDOW } from '../wire/limits.ts'
import type { Message } from '../wire/message.ts'
import type { MessageConnection, MessageHandlers } from './types.ts'

const JSON_TEXT = new TextDecoder('utf-8', { fatal: true })
const XML_TEXT = new TextDecoder()

/** What a message socket has to know of the options. */
export interface MessageSocketSettings {
  readonly maxBufferedBytes: number
  readonly logger: Logger
}

/** A client's connection on which JSON or XML messages come, and what its user sees of it. */
export class MessageSocket implements IncomingFrames, MessageConnection, Subscriber {
  readonly takes = 'socket'
  readonly sender: string
  readonly connectionId: number
  readonly pattern: string
  readonly remoteAddress: string
  readonly #connection: Connection
  readonly #handlers: MessageHandlers
  readonly #settings: MessageSocketSettings
  readonly #ledger = new SendLedger()
  /** Where the handlers are called: as `open` left it. */
  #context: CallContext
  #token: string | undefined
  #isOpen = true
  /** Those that it gets messages with. */
  readonly #audiences = new Set<Audience>()

  constructor(
    first: Message,
    connection: Connection,
    handlers: MessageHandlers,
    settings: MessageSocketSettings,
    context: CallContext,
  ) {
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
    return this.#ledger.undelivered(this.#connection.outbox.position - this.#connection.outbox.undelivered())
  }

  get token(): string {
    this.#token ??= this.#connection.sharedToken('messages')
    return this.#token
  }

  send(data: string | ArrayBuffer | ArrayBufferView): void {
    const bytes = copyOf(data)
    if (!this.#isOpen || bytes.length === 0) return
    if (!this.#isDeliverable(bytes)) {
      throw new Mongrel2Error(
        'over_budget',
        `expected a message of at most ${FLOW_CONTROL_WINDOW} bytes under download.flow_control, got ${this.#connection.outbox.sizeOf(bytes)}`,
      )
    }
    const buffered = this.bufferedAmount
    if (buffered > 0 && buffered + bytes.length > this.#settings.maxBufferedBytes) return this.#overflow()
    this.#connection.outbox.write(bytes)
    this.#ledger.add(this.#connection.outbox.position, bytes.length)
  }

  join(audience: Audience): boolean {
    if (this.#isOpen) this.#audiences.add(audience)
    return this.#isOpen
  }

  leave(audience: Audience): void {
    this.#audiences.delete(audience)
  }

  deliver({ payload, size }: SharedMessage, { maxBufferedBytes, whenSlow }: Budget): void {
    if (!this.#isOpen || size === 0) return
    const buffered = this.bufferedAmount
    if (this.#isDeliverable(payload) && (buffered === 0 || buffered + size <= maxBufferedBytes)) {
      this.#connection.outbox.writeShared(payload)
      this.#ledger.add(this.#connection.outbox.position, size)
    } else if (whenSlow === 'close') this.close()
  }

  close(): void {
    this.#connection.close()
  }

  receive(message: Message): void {
    const { json, xml } = this.#handlers
    const { path: route, body } = message
    if (!this.#isOpen) return
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
      // That is the client's mistake, which nobody here has to hear of.
      return this.close()
    }
    this.#call(() => this.#handlers.json?.({ route, data }, this))
  }

  publishing(): void {}

  lost(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    for (const audience of this.#audiences) audience.remove(this)
    this.#call(() => this.#handlers.close?.(this))
  }

  /** There is no goodbye in what it speaks. */
  async goAway(): Promise<void> {}

  end(): void {
    this.#connection.close()
  }

  /** Whether Mongrel2 delivers it at all. */
  #isDeliverable(bytes: Uint8Array): boolean {
    return this.#connection.pacing.mode !== 'credits' || this.#connection.outbox.sizeOf(bytes) <= FLOW_CONTROL_WINDOW
  }

  #overflow(): void {
    const most = this.#settings.maxBufferedBytes
    const error = new Error(`more than ${most} bytes (maxBufferedBytes) wait for the client of a message socket`)
    // Nobody expects an event while he sends.
    queueMicrotask(() => {
      this.#report(error)
      this.#connection.cut()
    })
  }

  #call(handler: () => void | Promise<void>): void {
    try {
      const result: unknown = this.#context.run(handler)
      if (result instanceof Promise) result.catch((error: unknown) => this.#report(error))
    } catch (error) {
      this.#report(error)
    }
  }

  #report(error: unknown): void {
    const { logger } = this.#settings
    logger.error?.(`mongrel2-fetch: a message socket's handler failed: ${describeError(error)}`)
    const failed = (failure: unknown) =>
      logger.error?.(`mongrel2-fetch: messages.error failed: ${describeError(failure)}`)
    try {
      const result: unknown = this.#context.run(() => this.#handlers.error?.(error, this))
      if (result instanceof Promise) result.catch(failed)
    } catch (failure) {
      failed(failure)
    }
  }
}
