import { lazy } from '../runtime/process/lazy.ts'
import type { HeaderField } from '../wire/headers.ts'
import { TOKEN } from '../wire/http.ts'
import { completeStandIn, copyHeaders, platform } from './stand-in.ts'

/** A body that is sent without a stream of the platform's, which is made when somebody asks for it. */
export abstract class LazyBody {
  /** Makes the stream; called once. */
  abstract openStream(): ReadableStream<Uint8Array>
  /** The body is not sent. */
  abstract cancel(): void
}

/** The parts of a response of which no real one was made. */
export interface PlainResponse {
  readonly status: number
  readonly statusText: string
  /** Names in lower case; only `set-cookie` may occur more than once. */
  readonly fields: readonly HeaderField[]
  readonly body: string | Uint8Array | Blob | LazyBody | null
  /** For a response to many clients: its bytes, once they are rendered. */
  readonly rendered?: { bytes?: Buffer }
}

/** The parts of a light response. */
interface Parts extends Omit<PlainResponse, 'body'> {
  readonly body: PlainResponse['body'] | ReadableStream
}

const TEXT_TYPE: HeaderField = ['content-type', 'text/plain;charset=UTF-8']
const JSON_TYPE: HeaderField = ['content-type', 'application/json']
/** Statuses whose responses have no body (Fetch standard, "null body status"). */
export const NULL_BODY_STATUS: ReadonlySet<number> = new Set([204, 205, 304])
/** Field values that need neither trimming nor a check of their bytes. */
const VALUE = /^(?:[!-~](?:[\t -~]*[!-~])?)?$/

/**
 * A Response that keeps its parts, where the body is a string, bytes, a Blob, a stream, lazy or nothing, and makes a real one, which costs a stream
 * or watches it, when more is asked for. Parts that the platform's constructor would refuse or convert make a real one at once.
 */
class LightResponse {
  /** Undefined where a real one was made at once. */
  readonly #parts: Parts | undefined
  #headers: Headers | undefined
  #real: Response | undefined

  constructor(
    body?: ConstructorParameters<typeof Response>[0],
    init?: ResponseInit,
    parts = partsOf(body, init, TEXT_TYPE),
  ) {
    this.#parts = parts
    if (parts === undefined) this.#real = new platform.Response(body, init)
  }

  static json(data: unknown, init?: ResponseInit): Response {
    const text = JSON.stringify(data)
    const parts = text === undefined ? undefined : partsOf(text, init, JSON_TYPE)
    return parts === undefined ? platform.Response.json(data, init) : asResponse(new LightResponse(text, init, parts))
  }

  static isLight(value: unknown): value is LightResponse {
    return typeof value === 'object' && value !== null && #parts in value
  }

  /**
   * The real Response behind an instance, with the changes that were made to the headers. Other values, on which members of the global class may be
   * called too, are returned as they are.
   */
  static realOf(response: LightResponse | Response): Response {
    if (!LightResponse.isLight(response)) return response
    const parts = response.#parts
    const headers = response.#headers
    if (response.#real === undefined && parts !== undefined) {
      response.#real = realResponse(parts, headers ?? headersOf(parts))
    } else if (headers !== undefined && response.#real !== undefined) copyHeaders(headers, response.#real.headers)
    return response.#real as Response
  }

  /** The parts of an instance; undefined for any other value, for one with a stream, and where a real Response was made, which has to be read. */
  static plainOf(this: void, value: unknown): PlainResponse | undefined {
    const parts = LightResponse.#untouchedOf(value)
    if (parts === undefined || !isPlain(parts)) return undefined
    const { status, statusText, body } = parts
    const headers = (value as LightResponse).#headers
    return headers === undefined ? parts : { status, statusText, fields: [...headers], body }
  }

  /** The body that a Response has to be read from: the stream of an instance of which no real Response was made, so that none is. */
  static streamOf(this: void, response: Response): ReadableStream | null {
    const body = LightResponse.#untouchedOf(response)?.body
    return body instanceof ReadableStream ? body : response.body
  }

  /** The parts of an instance of which no real Response was made. */
  static #untouchedOf(value: unknown): Parts | undefined {
    if (!LightResponse.isLight(value) || value.#real !== undefined) return undefined
    // A subclass may override members.
    return Object.getPrototypeOf(value) === LightResponse.prototype ? value.#parts : undefined
  }

  static #partsOf(response: object): Parts | undefined {
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
    this.#headers ??= this.#real?.headers ?? headersOf(this.#parts as Parts)
    return this.#headers
  }

  get bodyUsed(): boolean {
    if (!LightResponse.isLight(this)) return LightResponse.realOf(this).bodyUsed
    const body = this.#parts?.body
    return this.#real?.bodyUsed ?? (body instanceof ReadableStream && isDisturbed(body))
  }
}

/** The class, completed by the platform's on first use. Make instances by no other. */
export const lightResponse: () => typeof LightResponse = lazy(() => {
  completeStandIn(LightResponse, new platform.Response('sample'), LightResponse.realOf)
  Object.setPrototypeOf(LightResponse, platform.Response) // which has `error` and `redirect`
  Object.defineProperty(LightResponse, 'name', { value: 'Response' })
  Object.defineProperty(LightResponse, 'length', { value: 0 })
  return LightResponse
})

/** Its members come from `completeStandIn`, which the types do not show. */
function asResponse(response: LightResponse): Response {
  return response as unknown as Response
}

/** Makes a light Response. */
export function createResponse(...parameters: ConstructorParameters<typeof Response>): Response {
  return asResponse(new (lightResponse())(...parameters))
}

/** Makes a function that makes equal light Responses; those that nobody changes are rendered once. */
export function createSharedResponse(body: string | Uint8Array, type: string): () => Response {
  const fields: HeaderField[] = [['content-type', type]]
  const parts: PlainResponse = { status: 200, statusText: '', fields, body, rendered: {} }
  return () => asResponse(new (lightResponse())(undefined, undefined, parts))
}

/** Makes a light Response whose body has no stream yet. */
export function createLazyResponse(body: LazyBody, headers: Headers): Response {
  return asResponse(
    new (lightResponse())(undefined, undefined, { status: 200, statusText: '', fields: [...headers], body }),
  )
}

export const plainResponseOf: typeof LightResponse.plainOf = LightResponse.plainOf
export const bodyStreamOf: typeof LightResponse.streamOf = LightResponse.streamOf

function isPlain(parts: Parts): parts is PlainResponse {
  return !(parts.body instanceof ReadableStream)
}

function isUnread(stream: ReadableStream): boolean {
  return !stream.locked && !isDisturbed(stream)
}

/** Whether a stream was read or cancelled. Node's function takes streams of the web, too, which its types do not say. */
function isDisturbed(stream: ReadableStream): boolean {
  return process.getBuiltinModule('node:stream').Readable.isDisturbed(stream as unknown as NodeJS.ReadableStream)
}

function realResponse({ status, statusText, body, rendered }: Parts, headers: Headers): Response {
  const init = { status, statusText, headers }
  if (body instanceof ReadableStream && !isUnread(body)) return readResponse(init)
  // Bytes are a copy already; the platform would make another, and large ones cost collections.
  if (body instanceof Uint8Array && rendered === undefined) return new platform.Response(streamOf(body), init)
  return new platform.Response(body instanceof LazyBody ? body.openStream() : body, init)
}

/** A stream that hands bytes over, without a copy. */
function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    type: 'bytes',
    pull(controller) {
      if (bytes.length > 0) controller.enqueue(bytes)
      controller.close()
      controller.byobRequest?.respond(0)
    },
  })
}

/** A Response whose body counts as read, as the platform's does once its stream was read: its constructor takes no such stream. */
function readResponse(init: ResponseInit): Response {
  const response = new platform.Response(new ReadableStream(), init)
  response.body?.cancel().catch(() => {}) // it has no source
  return response
}

function headersOf({ fields }: Parts): Headers {
  return new Headers(fields.map(([name, value]): [string, string] => [name, value]))
}

/** The parts of a Response, if they are plain. */
function partsOf(body: unknown, init: ResponseInit | undefined, type: HeaderField): Parts | undefined {
  const plain = plainBodyOf(body)
  if (plain === undefined) return undefined
  let typed: HeaderField | undefined
  if (typeof plain === 'string') typed = type
  else if (plain instanceof Blob && plain.type !== '') typed = ['content-type', plain.type]
  if (init === undefined)
    return { status: 200, statusText: '', fields: typed === undefined ? [] : [typed], body: plain }
  if (typeof init !== 'object' || init === null) return undefined
  const { status = 200, statusText = '', headers } = init
  if (!Number.isInteger(status) || status < 200 || status > 599 || typeof statusText !== 'string') return undefined
  if (!VALUE.test(statusText) || (plain !== null && NULL_BODY_STATUS.has(status))) return undefined
  const fields = fieldsOf(headers)
  if (fields === undefined) return undefined
  if (typed !== undefined && !fields.some(([name]) => name === 'content-type')) fields.push(typed)
  return { status, statusText, fields, body: plain }
}

/** Copies bytes, as the platform does: they may be changed before they are sent. */
function plainBodyOf(body: unknown): Parts['body'] | undefined {
  if (typeof body === 'string') return body
  if (body === undefined || body === null) return null
  if (body instanceof Uint8Array) return Uint8Array.prototype.slice.call(body)
  if (body instanceof Blob || (body instanceof ReadableStream && isUnread(body))) return body
  return body instanceof ArrayBuffer ? new Uint8Array(body.slice(0)) : undefined
}

/** Header fields as the platform lists them, in any order; undefined for those that it would refuse, join or convert. */
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
 * Whether a response was made from one of ours: it has our header field, no body, and our status or the constructor's default. A response with
 * the field alone is another answer: Hono copies the header fields of one response into the next.
 *
 * @param value The field's value, which no other response has.
 */
export function isDerived(response: Response, status: number, field: string, value: string): boolean {
  if (response.status !== 200 && response.status !== status) return false
  return response.headers.get(field) === value && response.body === null
}
