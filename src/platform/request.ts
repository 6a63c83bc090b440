import { lazy } from '../runtime/process/lazy.ts'
import { completeStandIn, copyHeaders, platform } from './stand-in.ts'

/** Tells when the exchange of a request ends. */
export interface RequestLifetime {
  /**
   * Calls an action once: when the exchange ends, its signal is aborted or the server closes; at once if that has happened.
   *
   * @returns A function that removes the action.
   */
  whenEnding(action: () => void): () => void
}

/** A body that is fetched when it is asked for: once, in one of two ways. */
export interface BodySource {
  /** All of its bytes, in memory of their own. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>
  stream(): ReadableStream<Uint8Array>
}

/** The values that a Request is made from. */
export interface RequestSource {
  readonly method: string
  /** The whole URL, normalised as the platform does it. */
  readonly url: string
  /** Adds the header fields to an empty object. */
  addHeaders(headers: Headers): void
  /** Null is no body. The bytes are not changed. */
  readonly body: Uint8Array | ReadableStream<Uint8Array> | BodySource | null
  readonly signal: AbortSignal
  /** The client's address. */
  readonly ip: string | undefined
  /** Undefined for requests without an exchange. */
  readonly lifetime?: RequestLifetime
  waitUntil(promise: Promise<unknown>): void
}

/** Properties of requests beside the platform's members, with srvx's names, under which h3 and Nitro read them. */
const SERVER_PROPERTIES: Readonly<Record<string, (source: RequestSource) => unknown>> = {
  ip: (source) => source.ip,
  // Frameworks take the function off one request and call it on another.
  waitUntil: (source) => (promise: Promise<unknown>) => source.waitUntil(promise),
}

/** Methods that the platform's constructor refuses (Fetch standard, "forbidden method") and Mongrel2 passes on. */
const FORBIDDEN_METHODS = new Set(['CONNECT', 'TRACE', 'TRACK'])

const decoder = new TextDecoder()
const NOTHING = new Uint8Array()

/**
 * A Request that keeps method, URL, headers and bytes, and makes a real one when more is asked for: a real one costs as much as the rest of an
 * exchange. Its copies are the platform's, with the method GET or POST where ours is TRACE or CONNECT.
 */
class LightRequest {
  static {
    addServerProperties(LightRequest, (request) => request.#source)
  }

  readonly #source: RequestSource
  #headers: Headers | undefined
  #real: Request | undefined
  #used = false

  constructor(source: RequestSource) {
    this.#source = source
  }

  static isLight(value: unknown): value is LightRequest {
    return typeof value === 'object' && value !== null && #source in value
  }

  static sourceOf(value: object): RequestSource | undefined {
    return #source in value ? value.#source : undefined
  }

  /** The real Request behind an instance, with the changes that were made to the headers. */
  static realOf(request: LightRequest): Request {
    const headers = request.#headers
    if (request.#real === undefined) {
      const { method, url, signal, body } = request.#source
      const init = initOf({ method, body: request.#used ? NOTHING : body })
      request.#real = new platform.Request(url, { ...init, signal, ...(headers === undefined ? {} : { headers }) })
      if (headers === undefined) request.#source.addHeaders(request.#real.headers)
      if (request.#used) request.#real.arrayBuffer().catch(() => {}) // its body counts as read
    } else if (headers !== undefined) copyHeaders(headers, request.#real.headers)
    return request.#real
  }

  get method(): string {
    return this.#source.method
  }

  get url(): string {
    return this.#source.url
  }

  get headers(): Headers {
    this.#headers ??= this.#real?.headers ?? this.#freshHeaders()
    return this.#headers
  }

  get signal(): AbortSignal {
    return this.#source.signal
  }

  get bodyUsed(): boolean {
    return this.#real?.bodyUsed ?? this.#used
  }

  clone(): Request {
    const copy = LightRequest.realOf(this).clone()
    sourcesOfCopies.set(copy, this.#source)
    return copy
  }

  async text(): Promise<string> {
    const bytes = this.#takeBytes()
    if (bytes === undefined) return await LightRequest.realOf(this).text()
    return decoder.decode(bytes instanceof Uint8Array ? bytes : await bytes)
  }

  async json(): Promise<unknown> {
    const bytes = this.#takeBytes()
    if (bytes === undefined) return await LightRequest.realOf(this).json()
    return JSON.parse(decoder.decode(bytes instanceof Uint8Array ? bytes : await bytes))
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    const bytes = this.#takeBytes()
    if (bytes === undefined) return await LightRequest.realOf(this).arrayBuffer()
    return bytes instanceof Uint8Array ? new Uint8Array(bytes).buffer : (await bytes).buffer
  }

  #freshHeaders(): Headers {
    const headers = new Headers()
    this.#source.addHeaders(headers)
    return headers
  }

  /** The bytes of an unread body; undefined where a real Request has to decide. */
  #takeBytes(): Uint8Array | Promise<Uint8Array<ArrayBuffer>> | undefined {
    const { body } = this.#source
    if (this.#real !== undefined || this.#used) return undefined
    if (body === null) return NOTHING
    if (body instanceof ReadableStream) return undefined
    this.#used = true
    return body instanceof Uint8Array ? body : body.bytes()
  }
}

const lightRequest = lazy(() => {
  completeStandIn(LightRequest, new platform.Request('http://localhost/'), LightRequest.realOf)
  return LightRequest
})

function createLightRequest(source: RequestSource): Request {
  // Its members come from `completeStandIn`, which the type system cannot see.
  return new (lightRequest())(source) as unknown as Request
}

/** The options of the platform's constructor for a source, without headers and signal; to convert them costs a third of all it does. */
function initOf({ method, body }: Pick<RequestSource, 'method' | 'body'>): RequestInit | undefined {
  if (method === 'GET' && body === null) return undefined
  return {
    method: FORBIDDEN_METHODS.has(method) ? (body === null ? 'GET' : 'POST') : method,
    ...(body === null ? {} : { body: 'stream' in body ? body.stream() : body, duplex: 'half' }),
  }
}

/** The real Request behind a light one; any other value as it is. */
export function unwrapRequest<Value>(value: Value): Value | Request {
  return LightRequest.isLight(value) ? LightRequest.realOf(value) : value
}

/** The sources of the requests that copies were made from by `clone` or our global Request. */
export const sourcesOfCopies: WeakMap<object, RequestSource> = new WeakMap()

/** Whether the platform's own functions accept a light Request: where the platform keeps its state in symbols. */
export const lightRequestsPass: () => boolean = lazy(() => {
  const light = createLightRequest({
    method: 'PUT',
    url: 'http://localhost/',
    addHeaders: (headers) => headers.append('x-light', 'yes'),
    body: null,
    signal: new AbortController().signal,
    ip: undefined,
    waitUntil: () => {},
  })
  try {
    const copy = new platform.Request(light)
    return copy.method === 'PUT' && copy.headers.get('x-light') === 'yes'
  } catch {
    return false
  }
})

/** Gives a class of requests the properties `ip` and `waitUntil`. They can be assigned, since frameworks do so on the platform's requests. */
function addServerProperties<Instance extends object>(
  requestClass: { readonly prototype: Instance },
  sourceOf: (request: Instance) => RequestSource,
): void {
  for (const [name, read] of Object.entries(SERVER_PROPERTIES)) {
    Object.defineProperty(requestClass.prototype, name, {
      get(this: Instance): unknown {
        return read(sourceOf(this))
      },
      set(this: Instance, value: unknown) {
        Object.defineProperty(this, name, { value, configurable: true, enumerable: true, writable: true })
      },
      configurable: true,
      enumerable: true,
    })
  }
}

/** The platform's Request, without the members that its types call fields, which getters and methods may not override. */
type RequestClass = new (
  url: string,
  init: RequestInit | undefined,
) => Omit<Request, 'method' | 'signal' | 'clone'> & { clone(): Request }

/**
 * The class of the platform's Request with two differences: its signal is made on first use, since that costs more than all the rest, and its
 * method can be TRACE or CONNECT. The signal of a `new Request(request)` made from it is never aborted.
 */
const incomingRequest = lazy(() => {
  const Base: RequestClass = platform.Request
  return class IncomingRequest extends Base {
    static {
      addServerProperties(IncomingRequest, (request) => request.#source)
    }

    readonly #source: RequestSource

    constructor(source: RequestSource) {
      super(source.url, initOf(source))
      source.addHeaders(this.headers) // takes half as long as by the constructor
      this.#source = source
    }

    static sourceOf(value: object): RequestSource | undefined {
      return #source in value ? value.#source : undefined
    }

    get method(): string {
      return this.#source.method
    }

    get signal(): AbortSignal {
      return this.#source.signal
    }

    override clone(): Request {
      const copy = super.clone()
      sourcesOfCopies.set(copy, this.#source)
      return copy
    }
  }
})

/**
 * Makes a Request, a light one if `light` is set.
 *
 * @throws TypeError when the platform refuses one of its parts.
 */
export function createRequest(source: RequestSource, light: boolean): Request {
  return light ? createLightRequest(source) : new (incomingRequest())(source)
}

/** The source of a request that a handler was called with; undefined for any other value. */
export function sourceOfRequest(value: object): RequestSource | undefined {
  return LightRequest.sourceOf(value) ?? incomingRequest().sourceOf(value)
}

/** The lifetimes of requests that another server made. */
export const otherLifetimes: WeakMap<Request, RequestLifetime> = new WeakMap()

/** The lifetime of a request that a handler was called with; undefined for any other. */
export function lifetimeOf(request: Request): RequestLifetime | undefined {
  return sourceOfRequest(request)?.lifetime ?? otherLifetimes.get(request)
}
