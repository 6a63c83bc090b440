import {
  addServerProperties,
  createLightRequest,
  initOf,
  keepSource,
  type RequestLifetime,
  type RequestSource,
  sourceOfCopy,
  sourceOfLight,
} from './light-request.ts'
import { PlatformRequest } from './stand-in.ts'

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

/** The source of a request that a handler was called with; undefined for any other value. */
export function sourceOfRequest(value: object): RequestSource | undefined {
  return IncomingRequest.isIncoming(value) ? IncomingRequest.sourceOf(value) : sourceOfLight(value)
}

/** Lifetimes of requests that another server made. */
const lifetimes = new WeakMap<Request, RequestLifetime>()

/** Sets the lifetime of a request that another server made. */
export function setLifetime(request: Request, lifetime: RequestLifetime): void {
  lifetimes.set(request, lifetime)
}

/** The lifetime of a request that a handler was called with; undefined for any other. */
export function lifetimeOf(request: Request): RequestLifetime | undefined {
  return sourceOfRequest(request)?.lifetime ?? lifetimes.get(request)
}

/** The lifetime of the request that a copy was made from by `clone` or by our global Request; otherwise undefined. */
export function lifetimeOfCopy(request: Request): RequestLifetime | undefined {
  return sourceOfCopy(request)?.lifetime
}
