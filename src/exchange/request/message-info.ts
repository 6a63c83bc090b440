import type { MessageInfo, UploadInfo } from '../../platform/handler.ts'
import type { Message } from '../../wire/message.ts'
import type { DeferOptions, Deferral } from '../deferred/deferral.ts'
import type { Origin } from './origin.ts'
import type { RequestLifetime } from './request.ts'

/** The exchange of a request: its answer can be left to others. */
interface InfoOwner extends RequestLifetime {
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
  readonly #exchange: InfoOwner
  #headers: Readonly<Record<string, string>> | undefined

  constructor(message: Message, origin: Origin, upload: UploadInfo | undefined, exchange: InfoOwner) {
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

  /** The lifetime of the request; undefined for an object that others have made. */
  static lifetimeOf(info: MessageInfo): RequestLifetime | undefined {
    return #exchange in info ? info.#exchange : undefined
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
