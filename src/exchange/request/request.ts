import type { RequestFacts } from '../../connection/request-semantics.ts'
import { PlatformRequest } from '../../platform/constructors.ts'
import type { Mongrel2Context } from '../../platform/handler.ts'
import {
  addServerProperties,
  createLightRequest,
  initOf,
  keepSource,
  type RequestSource,
  sourceOfCopy,
  sourceOfLight,
} from '../../platform/light-request.ts'
import type { Message } from '../../wire/message.ts'
import type { Origin } from './origin.ts'

/** Where a request's signal comes from, made only when somebody looks at it. */
export interface SignalSource {
  readonly signal: AbortSignal
}

/** What a request belongs to, as far as something else may end with it. */
export interface RequestLifetime {
  /**
   * Calls an action once, when the exchange has ended, however that was, its signal is aborted or the server closes; at once if that has
   * happened.
   *
   * @returns Forgets the action.
   */
  whenEnding(action: () => void): () => void
}

/** What a request belongs to: its exchange. */
export interface RequestOwner extends SignalSource, RequestLifetime {
  readonly facts: Pick<RequestFacts, 'method'>
  readonly handlerContext: Pick<Mongrel2Context, 'waitUntil'>
}

/** Where a request goes, and where it came from. */
export interface RequestTarget {
  /** The whole URL, as the platform would write it. */
  readonly url: string
  readonly origin: Pick<Origin, 'remoteAddress'>
}

/** What a message says about a Request. */
export class MessageSource implements RequestSource {
  readonly method: string
  readonly url: string
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null
  readonly owner: RequestOwner
  readonly #message: Message
  readonly #target: RequestTarget
  readonly #keepUploadHeaders: boolean

  /**
   * @param body Ignored for GET and HEAD, which have none in the Fetch standard.
   * @param keepUploadHeaders Whether `x-mongrel2-upload-*` are Mongrel2's word.
   */
  constructor(
    message: Message,
    target: RequestTarget,
    body: Uint8Array | ReadableStream<Uint8Array> | null,
    keepUploadHeaders: boolean,
    owner: RequestOwner,
  ) {
    const { method } = owner.facts
    this.method = method
    this.url = target.url
    this.body = method === 'GET' || method === 'HEAD' ? null : body
    this.owner = owner
    this.#message = message
    this.#target = target
    this.#keepUploadHeaders = keepUploadHeaders
  }

  get ip(): string | undefined {
    return this.#target.origin.remoteAddress || undefined
  }

  waitUntil(promise: Promise<unknown>): void {
    this.owner.handlerContext.waitUntil(promise)
  }

  get signal(): AbortSignal {
    return this.owner.signal
  }

  addHeaders(headers: Headers): void {
    let cookies: string | undefined
    this.#message.headers.forEach((name, value) => {
      // Several Cookie fields are one with semicolons (RFC 6265bis, section 4.2.1); append would put a comma.
      if (name === 'cookie') cookies = cookies === undefined ? value : `${cookies}; ${value}`
      else if (!name.startsWith('x-mongrel2-') || this.#keepUploadHeaders) headers.append(name, value)
    })
    if (cookies !== undefined) headers.append('cookie', cookies)
  }
}

/** The platform's types call these properties fields, which a getter or a method may not override. */
const RequestClass: new (
  url: string,
  init: RequestInit,
) => Omit<Request, 'method' | 'signal' | 'clone'> & { clone(): Request } = PlatformRequest

/**
 * The platform's Request with two differences: its signal is made when somebody looks, since one that follows another costs more
 * than all the rest, and it can say TRACE and CONNECT. The signal of a `new Request(request)` made from it is never aborted.
 */
class IncomingRequest extends RequestClass {
  readonly #source: RequestSource

  constructor(source: RequestSource) {
    super(source.url, initOf(source))
    source.addHeaders(this.headers) // half as long as to give them to the constructor
    this.#source = source
  }

  static isIncoming(value: object): value is IncomingRequest {
    return #source in value
  }

  static sourceOf(request: IncomingRequest): RequestSource {
    return request.#source
  }

  get method(): string {
    return this.#source.method
  }

  get signal(): AbortSignal {
    return this.#source.signal
  }

  override clone(): Request {
    const copy = super.clone()
    keepSource(copy, this.#source)
    return copy
  }
}

addServerProperties(IncomingRequest, IncomingRequest.sourceOf)

/**
 * Makes a Request.
 *
 * @param light Whether a light one will do.
 * @throws TypeError when the platform refuses one of its parts.
 */
export function createRequest(source: RequestSource, light: boolean): Request {
  return light ? createLightRequest(source) : new IncomingRequest(source)
}

/** What a request was made of that a handler is called with; undefined for any other value. */
export function sourceOfRequest(value: object): RequestSource | undefined {
  return IncomingRequest.isIncoming(value) ? IncomingRequest.sourceOf(value) : sourceOfLight(value)
}

/** The lifetimes of requests that another server has made. */
const lifetimes = new WeakMap<Request, RequestLifetime>()

/** Says when the exchange of a request ends that another server has made. */
export function setLifetime(request: Request, lifetime: RequestLifetime): void {
  lifetimes.set(request, lifetime)
}

/** The lifetime of a request that a handler was called with; undefined for any other. */
export function lifetimeOf(request: Request): RequestLifetime | undefined {
  return ownerIn(sourceOfRequest(request)) ?? lifetimes.get(request)
}

/** The lifetime of the request that a copy was made from, where that can be known: by `clone`, or by a global Request of ours. */
export function lifetimeOfCopy(request: Request): RequestLifetime | undefined {
  return ownerIn(sourceOfCopy(request))
}

function ownerIn(source: RequestSource | undefined): RequestOwner | undefined {
  return source instanceof MessageSource ? source.owner : undefined
}
