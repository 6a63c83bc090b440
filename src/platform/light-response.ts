import type { HeaderField } from '../wire/headers.ts'
import { TOKEN } from '../wire/http.ts'
import { completeStandIn, copyHeaders, PlatformResponse } from './stand-in.ts'

/** A response that can be sent as it is: nothing of it has to be waited for. */
export interface PlainResponse {
  readonly status: number
  readonly statusText: string
  /** Names in lower case, each once but `set-cookie`. */
  readonly fields: readonly HeaderField[]
  readonly body: string | Uint8Array | Blob | null
  /** There for responses that many get: what one of them was sent as. */
  readonly rendered?: { bytes?: Buffer }
}

const TEXT_TYPE: HeaderField = ['content-type', 'text/plain;charset=UTF-8']
const JSON_TYPE: HeaderField = ['content-type', 'application/json']
/** Statuses whose responses have no body (Fetch standard, "null body status"). */
const NULL_BODY = new Set([204, 205, 304])
/** Values of fields that need neither trimming nor a check of their bytes. */
const VALUE = /^(?:[!-~](?:[\t -~]*[!-~])?)?$/

/**
 * A Response that keeps what it was made of, where that is a string, bytes, a Blob or nothing, and becomes a real one when it is asked
 * for more. A real one costs a stream.
 *
 * Whatever the platform's constructor would refuse or convert goes to it at once, so that it has its word.
 */
export class LightResponse {
  /** Undefined where there was a real one from the first. */
  readonly #parts: PlainResponse | undefined
  #headers: Headers | undefined
  #real: Response | undefined

  constructor(
    body?: ConstructorParameters<typeof Response>[0],
    init?: ResponseInit,
    parts = partsOf(body, init, TEXT_TYPE),
  ) {
    this.#parts = parts
    if (parts === undefined) this.#real = new PlatformResponse(body, init)
  }

  static error(): Response {
    return PlatformResponse.error()
  }

  static redirect(url: string | URL, status: 301 | 302 | 303 | 307 | 308 = 302): Response {
    return PlatformResponse.redirect(url, status)
  }

  static json(data: unknown, init?: ResponseInit): Response {
    const text = JSON.stringify(data)
    const parts = text === undefined ? undefined : partsOf(text, init, JSON_TYPE)
    return parts === undefined ? PlatformResponse.json(data, init) : asResponse(new LightResponse(text, init, parts))
  }

  static isLight(value: unknown): value is LightResponse {
    return typeof value === 'object' && value !== null && #parts in value
  }

  /**
   * The real one behind an instance, in step with the headers that were handed out. The global class has the platform's for instances
   * too, on which its members may be called: these are real already.
   */
  static realOf(response: LightResponse | Response): Response {
    if (!LightResponse.isLight(response)) return response
    const parts = response.#parts
    const headers = response.#headers
    if (response.#real === undefined && parts !== undefined) {
      const { status, statusText, body } = parts
      response.#real = new PlatformResponse(body, { status, statusText, headers: headers ?? headersOf(parts) })
    } else if (headers !== undefined && response.#real !== undefined) copyHeaders(headers, response.#real.headers)
    return response.#real as Response
  }

  /** What an instance was made of, if its body is nobody else's; undefined where a real Response has to be read. */
  static plainOf(response: LightResponse): PlainResponse | undefined {
    const parts = response.#parts
    if (response.#real !== undefined || parts === undefined) return undefined
    // A subclass may say something else than what it was made of.
    if (Object.getPrototypeOf(response) !== LightResponse.prototype) return undefined
    if (response.#headers === undefined) return parts
    const { status, statusText, body } = parts
    return { status, statusText, fields: [...response.#headers], body }
  }

  static #partsOf(response: object): PlainResponse | undefined {
    return #parts in response ? response.#parts : undefined
  }

  get status(): number {
    return LightResponse.#partsOf(this)?.status ?? LightResponse.realOf(this).status
  }

  get statusText(): string {
    return LightResponse.#partsOf(this)?.statusText ?? LightResponse.realOf(this).statusText
  }

  get ok(): boolean {
    return this.status >= 200 && this.status < 300
  }

  get headers(): Headers {
    if (!LightResponse.isLight(this)) return LightResponse.realOf(this).headers
    this.#headers ??= this.#real?.headers ?? headersOf(this.#parts as PlainResponse)
    return this.#headers
  }

  get bodyUsed(): boolean {
    if (!LightResponse.isLight(this)) return LightResponse.realOf(this).bodyUsed
    return this.#real?.bodyUsed ?? false
  }
}

completeStandIn(LightResponse, new PlatformResponse('sample'), LightResponse.realOf)
Object.defineProperty(LightResponse, 'name', { value: 'Response' })
Object.defineProperty(LightResponse, 'length', { value: 0 })

/** Its members come from `completeStandIn`, which the type system cannot see. */
function asResponse(response: LightResponse): Response {
  return response as unknown as Response
}

/** Makes a light Response. */
export function createResponse(...parameters: ConstructorParameters<typeof Response>): Response {
  return asResponse(new LightResponse(...parameters))
}

/** Makes a function that makes light Responses which are all the same: as long as nobody changes them, they are sent as the same bytes. */
export function createSharedResponse(body: string | Uint8Array, type: string): () => Response {
  const parts: PlainResponse = {
    status: 200,
    statusText: '',
    fields: [['content-type', type]],
    body,
    rendered: {},
  }
  return () => asResponse(new LightResponse(undefined, undefined, parts))
}

/** The real Response behind a light one; any other value as it is. */
export function unwrapResponse<Value>(value: Value): Value | Response {
  return LightResponse.isLight(value) ? LightResponse.realOf(value) : value
}

/** What a response was made of, if it is light and its body is nobody else's; undefined for any other value. */
export function plainResponseOf(value: unknown): PlainResponse | undefined {
  return LightResponse.isLight(value) ? LightResponse.plainOf(value) : undefined
}

function headersOf({ fields }: PlainResponse): Headers {
  return new Headers(fields.map(([name, value]): [string, string] => [name, value]))
}

/** What a Response is made of, if that is plain. */
function partsOf(body: unknown, init: ResponseInit | undefined, type: HeaderField): PlainResponse | undefined {
  const plain = plainBodyOf(body)
  if (plain === undefined) return undefined
  const typed = typeof plain === 'string' ? type : plain instanceof Blob ? typeOf(plain) : undefined
  if (init === undefined)
    return { status: 200, statusText: '', fields: typed === undefined ? [] : [typed], body: plain }
  if (typeof init !== 'object' || init === null) return undefined
  const { status = 200, statusText = '', headers } = init
  if (!Number.isInteger(status) || status < 200 || status > 599 || typeof statusText !== 'string') return undefined
  if (!VALUE.test(statusText) || (plain !== null && NULL_BODY.has(status))) return undefined
  const fields = fieldsOf(headers)
  if (fields === undefined) return undefined
  if (typed !== undefined && !fields.some(([name]) => name === 'content-type')) fields.push(typed)
  return { status, statusText, fields, body: plain }
}

function typeOf({ type }: Blob): HeaderField | undefined {
  return type === '' ? undefined : ['content-type', type]
}

/** Bytes are copied, as the platform does: they may be changed before they are sent. */
function plainBodyOf(body: unknown): PlainResponse['body'] | undefined {
  if (typeof body === 'string') return body
  if (body === undefined || body === null) return null
  if (body instanceof Uint8Array) return Uint8Array.prototype.slice.call(body)
  if (body instanceof Blob) return body
  return body instanceof ArrayBuffer ? new Uint8Array(body.slice(0)) : undefined
}

/** Header fields as the platform would list them, but for their order; undefined for what it would refuse, join or convert. */
function fieldsOf(init: ResponseInit['headers']): HeaderField[] | undefined {
  if (init === undefined) return []
  if (init instanceof Headers) return [...init]
  if (typeof init !== 'object' || init === null) return undefined
  if (Array.isArray(init)) return checkedFields(init)
  return Symbol.iterator in init ? undefined : checkedFields(Object.entries(init))
}

function checkedFields(pairs: readonly unknown[]): HeaderField[] | undefined {
  const fields: HeaderField[] = []
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2) return undefined
    const [name, given]: readonly unknown[] = pair
    const value = typeof given === 'number' ? String(given) : given
    if (typeof name !== 'string' || typeof value !== 'string' || !TOKEN.test(name) || !VALUE.test(value))
      return undefined
    const lower = name.toLowerCase()
    if (lower !== 'set-cookie' && fields.some((field) => field[0] === lower)) return undefined
    fields.push([lower, value])
  }
  return fields
}

/**
 * Whether a response was made of one of ours that has no body: it has our header field, no body, and the status of ours or the one that the
 * platform's constructor gives by default. Anything else is an answer of its own, though it may have the field as well: Hono copies the
 * header fields of the response before into the one that replaces it.
 *
 * @param status The status of ours.
 * @param field The name of the field that ours has.
 * @param value The value, which no other response has.
 */
export function isDerived(response: Response, status: number, field: string, value: string): boolean {
  if (response.status !== 200 && response.status !== status) return false
  return response.headers.get(field) === value && response.body === null
}
