import type { Message } from '../wire/message.ts'
import type { MessageInfo, UploadInfo } from './handler.ts'
import type { Origin } from './origin.ts'

/** What Mongrel2 says about a request; most handlers never ask, so what costs something is read when they do. */
export class LazyMessageInfo implements MessageInfo {
  readonly sender: string
  readonly connectionId: number
  readonly remoteAddress: string
  readonly scheme: string
  declare readonly upload?: UploadInfo
  readonly #message: Message
  #headers: Readonly<Record<string, string>> | undefined

  constructor(message: Message, origin: Origin, upload: UploadInfo | undefined) {
    this.sender = message.sender
    this.connectionId = message.connectionId
    this.remoteAddress = origin.remoteAddress
    this.scheme = origin.scheme
    if (upload !== undefined) this.upload = upload
    this.#message = message
  }

  get pattern(): string {
    return this.#message.headers.own('PATTERN') ?? ''
  }

  get version(): string {
    return this.#message.headers.own('VERSION') ?? ''
  }

  get headers(): Readonly<Record<string, string>> {
    this.#headers ??= this.#message.headers.ownEntries()
    return this.#headers
  }

  /** All of it, as `JSON.stringify` asks for it. */
  toJSON(): MessageInfo {
    const { pattern, version, headers } = this
    return { ...this, pattern, version, headers }
  }
}
