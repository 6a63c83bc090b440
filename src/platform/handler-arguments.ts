import { isIP } from 'node:net'
import { type ClientCertificate, clientCertificateOf } from '../wire/client-certificate.ts'
import type { Message } from '../wire/message.ts'
import type {
  DeferOptions,
  Deferral,
  IncomingConnection,
  MessageInfo,
  Mongrel2Context,
  Mongrel2Env,
  UploadInfo,
} from './handler.ts'
import type { RequestLifetime, RequestSource } from './request.ts'

/** What the handler's arguments need of the exchange. */
export interface RequestExchange extends RequestLifetime {
  /** Made on first use. */
  readonly signal: AbortSignal
  readonly semantics: { readonly method: string }
  readonly handlerContext: Pick<Mongrel2Context, 'waitUntil'>
  defer(options: DeferOptions): Promise<Deferral>
  /** Adds a task of `waitUntil`, which may outlast the response. */
  addTask(task: Promise<unknown>): void
}

/** A request whose head was read. */
export interface MessageHead {
  readonly message: Message
  /** The whole URL, normalised as the platform does it. */
  readonly url: string
  readonly origin: { readonly remoteAddress: string; readonly scheme: string }
  readonly exchange: RequestExchange
}

/** The handler's second argument. */
export class HandlerEnv implements Mongrel2Env {
  readonly mongrel2: MessageInfo

  constructor(mongrel2: MessageInfo) {
    this.mongrel2 = mongrel2
  }

  get incoming(): IncomingConnection {
    const { remoteAddress } = this.mongrel2
    const version = isIP(remoteAddress)
    return {
      socket: {
        remoteAddress: remoteAddress === '' ? undefined : remoteAddress,
        remotePort: undefined,
        remoteFamily: version === 0 ? undefined : version === 6 ? 'IPv6' : 'IPv4',
      },
    }
  }
}

const NO_PROPS: Record<string, never> = Object.freeze({})

/** The handler's third argument, which keeps the tasks of `waitUntil`. */
export class HandlerContext implements Mongrel2Context {
  readonly props: Record<string, never> = NO_PROPS
  readonly #exchange: Pick<RequestExchange, 'addTask'>
  #tasks: Promise<unknown>[] | undefined

  constructor(exchange: Pick<RequestExchange, 'addTask'>) {
    this.#exchange = exchange
  }

  waitUntil(promise: Promise<unknown>): void {
    const task = Promise.resolve(promise)
    this.#tasks ??= []
    this.#tasks.push(task)
    this.#exchange.addTask(task)
  }

  passThroughOnException(): void {}

  /** Resolves when all tasks have settled, later ones included. */
  async settled(): Promise<void> {
    while (this.#tasks !== undefined) {
      const tasks = this.#tasks
      this.#tasks = undefined
      await Promise.allSettled(tasks)
    }
  }
}

/** `env.mongrel2`. Its headers are collected on first use, since few handlers read them. */
export class LazyMessageInfo implements MessageInfo {
  readonly sender: string
  readonly connectionId: number
  readonly pattern: string
  readonly remoteAddress: string
  readonly scheme: string
  readonly version: string
  declare readonly upload?: UploadInfo
  readonly #head: MessageHead
  #headers: Readonly<Record<string, string>> | undefined

  constructor(head: MessageHead, upload?: UploadInfo) {
    const { message, origin } = head
    this.sender = message.sender
    this.connectionId = message.connectionId
    this.pattern = message.headers.own('PATTERN') ?? ''
    this.remoteAddress = origin.remoteAddress
    this.scheme = origin.scheme
    this.version = message.headers.own('VERSION') ?? ''
    if (upload !== undefined) this.upload = upload
    this.#head = head
  }

  /** The lifetime of the request; undefined for any other object. */
  static lifetimeOf(info: MessageInfo): RequestLifetime | undefined {
    return #head in info ? info.#head.exchange : undefined
  }

  get headers(): Readonly<Record<string, string>> {
    this.#headers ??= this.#head.message.headers.ownEntries()
    return this.#headers
  }

  get clientCertificate(): ClientCertificate | undefined {
    return clientCertificateOf(this.#head.message.headers)
  }

  defer(options: DeferOptions = {}): Promise<Deferral> {
    return this.#head.exchange.defer(options)
  }

  /** Gives `JSON.stringify` all members. */
  toJSON(): Omit<MessageInfo, 'defer'> {
    return { ...this, clientCertificate: this.clientCertificate, headers: this.headers }
  }
}

/** The values of a Request that come from a message. */
export class MessageSource implements RequestSource {
  readonly method: string
  readonly url: string
  readonly body: RequestSource['body']
  readonly lifetime: RequestExchange
  readonly #head: MessageHead
  readonly #keepUploadHeaders: boolean

  /**
   * @param body Ignored for GET and HEAD, which have none in the Fetch standard.
   * @param keepUploadHeaders Whether Mongrel2 has written `x-mongrel2-upload-*`.
   */
  constructor(head: MessageHead, body: RequestSource['body'], keepUploadHeaders: boolean) {
    const { method } = head.exchange.semantics
    this.method = method
    this.url = head.url
    this.body = method === 'GET' || method === 'HEAD' ? null : body
    this.lifetime = head.exchange
    this.#head = head
    this.#keepUploadHeaders = keepUploadHeaders
  }

  get ip(): string | undefined {
    return this.#head.origin.remoteAddress || undefined
  }

  waitUntil(promise: Promise<unknown>): void {
    this.lifetime.handlerContext.waitUntil(promise)
  }

  get signal(): AbortSignal {
    return this.lifetime.signal
  }

  addHeaders(headers: Headers): void {
    let cookies: string | undefined
    this.#head.message.headers.forEach((name, value) => {
      // Several Cookie fields are joined by semicolons (RFC 6265bis, section 4.2.1); `append` would join them by commas.
      if (name === 'cookie') cookies = cookies === undefined ? value : `${cookies}; ${value}`
      else if (!name.startsWith('x-mongrel2-') || this.#keepUploadHeaders) headers.append(name, value)
    })
    if (cookies !== undefined) headers.append('cookie', cookies)
  }
}
