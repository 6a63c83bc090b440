import type { Message } from '../wire/message.ts'
import { PlatformRequest } from './platform/constructors.ts'
import {
  createLightRequest,
  initOf,
  keepSource,
  lightRequestsPass,
  type RequestSource,
  sourceOfCopy,
  sourceOfLight,
} from './platform/light-request.ts'

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
export interface RequestOwner extends SignalSource, RequestLifetime {}

/** What a message says about a Request. */
export class MessageSource implements RequestSource {
  readonly method: string
  readonly url: string
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null
  readonly #message: Message
  readonly #keepUploadHeaders: boolean
  readonly owner: RequestOwner

  /**
   * @param url The whole URL, as the platform would write it.
   * @param body Ignored for GET and HEAD, which have none in the Fetch standard.
   * @param keepUploadHeaders Whether `x-mongrel2-upload-*` are Mongrel2's word.
   */
  constructor(
    message: Message,
    method: string,
    url: string,
    body: Uint8Array | ReadableStream<Uint8Array> | null,
    keepUploadHeaders: boolean,
    owner: RequestOwner,
  ) {
    this.method = method
    this.url = url
    this.body = method === 'GET' || method === 'HEAD' ? null : body
    this.#message = message
    this.#keepUploadHeaders = keepUploadHeaders
    this.owner = owner
  }

  get signal(): AbortSignal {
    return this.owner.signal
  }

  headers(): Headers {
    const headers = new Headers()
    let cookies: string | undefined
    this.#message.headers.forEach((name, value) => {
      // Several Cookie fields are one with semicolons (RFC 6265bis, section 4.2.1); append would put a comma.
      if (name === 'cookie') cookies = cookies === undefined ? value : `${cookies}; ${value}`
      else if (!name.startsWith('x-mongrel2-') || this.#keepUploadHeaders) headers.append(name, value)
    })
    if (cookies !== undefined) headers.append('cookie', cookies)
    return headers
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
    super(source.url, initOf(source, source.headers()))
    this.#source = source
  }

  static sourceOf(request: object): RequestSource | undefined {
    return #source in request ? request.#source : undefined
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

/**
 * Makes a Request.
 *
 * @param light Whether the globals are replaced by ours, which know a light one.
 * @throws TypeError when the platform refuses one of its parts.
 */
export function createRequest(source: RequestSource, light: boolean): Request {
  return light || lightRequestsPass ? createLightRequest(source) : new IncomingRequest(source)
}

/** The lifetimes of requests that another server has made. */
const lifetimes = new WeakMap<Request, RequestLifetime>()

/** Says when the exchange of a request ends that another server has made. */
export function setLifetime(request: Request, lifetime: RequestLifetime): void {
  lifetimes.set(request, lifetime)
}

/** The lifetime of a request that a handler was called with; undefined for any other. */
export function lifetimeOf(request: Request): RequestLifetime | undefined {
  return ownerIn(IncomingRequest.sourceOf(request) ?? sourceOfLight(request)) ?? lifetimes.get(request)
}

/** The lifetime of the request that a copy was made from, where that can be known: by `clone`, or by a global Request of ours. */
export function lifetimeOfCopy(request: Request): RequestLifetime | undefined {
  return ownerIn(sourceOfCopy(request))
}

function ownerIn(source: RequestSource | undefined): RequestOwner | undefined {
  return source instanceof MessageSource ? source.owner : undefined
}
