import { completeStandIn, copyHeaders, PlatformRequest } from './stand-in.ts'

/** When the exchange of a request ends. */
export interface RequestLifetime {
  /**
   * Calls an action once, when the exchange has ended in any way, its signal is aborted or the server closes; at once if that has happened.
   *
   * @returns Forgets the action.
   */
  whenEnding(action: () => void): () => void
}

/** The values that a Request is made from when needed. */
export interface RequestSource {
  readonly method: string
  /** Whole and normalised, as the platform would write it. */
  readonly url: string
  /** Adds its fields to an object that has none. */
  addHeaders(headers: Headers): void
  /** Undefined is none at all; bytes are not changed. */
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null
  readonly signal: AbortSignal
  /** The client's address. */
  readonly ip: string | undefined
  /** Undefined for requests that come from no exchange. */
  readonly lifetime?: RequestLifetime
  waitUntil(promise: Promise<unknown>): void
}

/** Properties that requests have besides the platform's members, with srvx's names, by which h3 and Nitro read them. */
const SERVER_PROPERTIES: Readonly<Record<string, (source: RequestSource) => unknown>> = {
  ip: (source) => source.ip,
  // Frameworks take the function off one request and call it on another.
  waitUntil: (source) => (promise: Promise<unknown>) => source.waitUntil(promise),
}

/** Methods that the platform's constructor refuses (Fetch standard, "forbidden method"); Mongrel2 lets them through. */
const FORBIDDEN_METHODS = new Set(['CONNECT', 'TRACE', 'TRACK'])

const decoder = new TextDecoder()
const NOTHING = new Uint8Array()

/**
 * A Request that knows its method, URL, headers and bytes, and makes a real one when it is asked for more: that costs as much as all
 * the rest of an exchange. Copies of it are the platform's own, which say GET or POST where the method is TRACE or CONNECT.
 */
class LightRequest {
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

  static sourceOf(request: LightRequest): RequestSource {
    return request.#source
  }

  /** The real one behind an instance, in step with the headers that were handed out. */
  static realOf(request: LightRequest): Request {
    const headers = request.#headers
    if (request.#real === undefined) {
      const { url, signal } = request.#source
      const init = initOf(request.#source)
      request.#real = new PlatformRequest(url, { ...init, signal, ...(headers === undefined ? {} : { headers }) })
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
    keepSource(copy, this.#source)
    return copy
  }

  async text(): Promise<string> {
    const bytes = this.#takeBytes()
    return bytes === undefined ? await LightRequest.realOf(this).text() : decoder.decode(bytes)
  }

  async json(): Promise<unknown> {
    const bytes = this.#takeBytes()
    return bytes === undefined ? await LightRequest.realOf(this).json() : JSON.parse(decoder.decode(bytes))
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    const bytes = this.#takeBytes()
    return bytes === undefined ? await LightRequest.realOf(this).arrayBuffer() : new Uint8Array(bytes).buffer
  }

  #freshHeaders(): Headers {
    const headers = new Headers()
    this.#source.addHeaders(headers)
    return headers
  }

  /** The bytes of an unread body; undefined where a real Request has to decide. */
  #takeBytes(): Uint8Array | undefined {
    const { body } = this.#source
    if (this.#real !== undefined || this.#used) return undefined
    if (body === null) return NOTHING
    if (!(body instanceof Uint8Array)) return undefined
    this.#used = true
    return body
  }
}

completeStandIn(LightRequest, new PlatformRequest('http://localhost/'), LightRequest.realOf)
addServerProperties(LightRequest, LightRequest.sourceOf)

/** Makes a light Request. */
export function createLightRequest(source: RequestSource): Request {
  // Its members come from `completeStandIn`, which the type system cannot see.
  return new LightRequest(source) as unknown as Request
}

/** The options of the platform's constructor for a source, without headers and signal. */
export function initOf({ method, body }: RequestSource): RequestInit {
  return {
    method: FORBIDDEN_METHODS.has(method) ? (body === null ? 'GET' : 'POST') : method,
    ...(body === null ? {} : { body, duplex: 'half' }),
  }
}

/** The real Request behind a light one; any other value as it is. */
export function unwrapRequest<Value>(value: Value): Value | Request {
  return LightRequest.isLight(value) ? LightRequest.realOf(value) : value
}

/** The source of a light Request; undefined for any other value. */
export function sourceOfLight(value: unknown): RequestSource | undefined {
  return LightRequest.isLight(value) ? LightRequest.sourceOf(value) : undefined
}

/** The sources of copies of our requests. */
const copies = new WeakMap<object, RequestSource>()

/** Lets `sourceOfCopy` find the source of a copy. */
export function keepSource(copy: Request, source: RequestSource): void {
  copies.set(copy, source)
}

/** The source of the request that a copy was made from; undefined for any other. */
export function sourceOfCopy(request: object): RequestSource | undefined {
  return copies.get(request)
}

/** Whether the platform's own functions accept a light Request: they do where the platform keeps its state in symbols. */
export const lightRequestsPass: boolean = (() => {
  const { signal } = new AbortController()
  const light = createLightRequest({
    method: 'PUT',
    url: 'http://localhost/',
    addHeaders: (headers) => headers.append('x-light', 'yes'),
    body: null,
    signal,
    ip: undefined,
    waitUntil: () => {},
  })
  try {
    const copy = new PlatformRequest(light)
    return copy.method === 'PUT' && copy.headers.get('x-light') === 'yes'
  } catch {
    return false
  }
})()

/**
 * Gives a class of requests the properties `ip` and `waitUntil`. They can be assigned, as on the platform's requests, to which
 * frameworks copy them.
 */
export function addServerProperties<Instance extends object>(
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
