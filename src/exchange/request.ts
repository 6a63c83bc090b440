import type { Message } from '../wire/message.ts'

/** Where a request's signal comes from, made only when somebody looks at it. */
export interface SignalSource {
  readonly signal: AbortSignal
}

/** Methods that the platform's constructor refuses (Fetch standard, "forbidden method"); Mongrel2 lets them through. */
const FORBIDDEN_METHODS = new Set(['CONNECT', 'TRACE', 'TRACK'])

/** The platform's types call these two properties fields, which a getter may not override. */
const PlatformRequest: new (url: string, init: RequestInit) => Omit<Request, 'method' | 'signal'> = Request

/**
 * The platform's Request with two differences: its signal is made when somebody looks, since an AbortController for each
 * request costs more than all the rest, and it can say TRACE and CONNECT. What is made from it by `new Request(request)`
 * or `clone()` is the platform's own: that says GET or POST for those methods, and its signal is never aborted.
 */
class IncomingRequest extends PlatformRequest {
  readonly #method: string
  readonly #source: SignalSource

  constructor(url: string, init: RequestInit, method: string, source: SignalSource) {
    super(url, init)
    this.#method = method
    this.#source = source
  }

  get method(): string {
    return this.#method
  }

  get signal(): AbortSignal {
    return this.#source.signal
  }
}

/**
 * Makes the Request of a message.
 *
 * @param url The whole URL, its target as the client wrote it.
 * @param body Ignored for GET and HEAD, which have none in the Fetch standard.
 * @param keepUploadHeaders Whether `x-mongrel2-upload-*` are Mongrel2's word.
 * @throws TypeError when the URL or a header cannot be one.
 */
export function createRequest(
  message: Message,
  method: string,
  url: string,
  body: Buffer | ReadableStream<Uint8Array> | null,
  keepUploadHeaders: boolean,
  source: SignalSource,
): Request {
  const bodyless = method === 'GET' || method === 'HEAD'
  const init: RequestInit = {
    method: FORBIDDEN_METHODS.has(method) ? (body === null ? 'GET' : 'POST') : method,
    headers: headersOf(message, keepUploadHeaders),
  }
  if (body !== null && !bodyless) {
    init.body = body
    init.duplex = 'half'
  }
  return new IncomingRequest(url, init, method, source)
}

/** A request's URL: the target goes behind the authority as it is, so that `//evil.example/x` stays a path. */
export function urlOf(scheme: string, authority: string, target: string): string {
  const fragment = target.indexOf('#')
  return `${scheme}://${authority}${fragment === -1 ? target : target.slice(0, fragment)}`
}

function headersOf(message: Message, keepUploadHeaders: boolean): Headers {
  const headers = new Headers()
  let cookies: string | undefined
  for (const [name, value] of message.headers.fields()) {
    // Several Cookie fields are one with semicolons (RFC 6265bis, section 4.2.1); append would put a comma.
    if (name === 'cookie') cookies = cookies === undefined ? value : `${cookies}; ${value}`
    else if (!name.startsWith('x-mongrel2-') || keepUploadHeaders) headers.append(name, value)
  }
  if (cookies !== undefined) headers.append('cookie', cookies)
  return headers
}
