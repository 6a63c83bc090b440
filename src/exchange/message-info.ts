import type { Message } from '../wire/message.ts'
import type { DeferOptions, Deferral } from './deferral.ts'
import type { MessageInfo, UploadInfo } from './handler.ts'
import type { Origin } from './origin.ts'

/** Whose answer can be left to others. */
interface Deferrable {
  defer(options: DeferOptions): Promise<Deferral>
}

/** What Mongrel2 says about a request; most handlers never ask for its headers, so these are put together when they do. */
export class LazyMessageInfo implements MessageInfo {
  readonly sender: string
  readonly connectionId: number
  readonly pattern: string
  readonly remoteAddress: string
  readonly scheme: string
  readonly version: string
  declare readonly upload?: UploadInfo
  readonly #message: Message
  readonly #exchange: Deferrable
  #headers: Readonly<Record<string, string>> | undefined

  constructor(message: Message, origin: Origin, upload: UploadInfo | undefined, exchange: Deferrable) {
    this.sender = message.sender
    this.connectionId = message.connectionId
    this.pattern = message.headers.own('PATTERN') ?? ''
    this.remoteAddress = origin.remoteAddress
    this.scheme = origin.scheme
    this.version = message.headers.own('VERSION') ?? ''
    if (upload !== undefined) this.upload = upload
    this.#message = message
    this.#exchange = exchange
  }

  get headers(): Readonly<Record<string, string>> {
    this.#headers ??= this.#message.headers.ownEntries()
    return this.#headers
  }

  defer(options: DeferOptions = {}): Promise<Deferral> {
    return this.#exchange.defer(options)
  }

  /** All of it, as `JSON.stringify` asks for it. */
  toJSON(): Omit<MessageInfo, 'defer'> {
    return { ...this, headers: this.headers }
  }
}
