import { STATUS_CODES } from 'node:http'
import { isAnyArrayBuffer } from 'node:util/types'
import { listItems, type RequestFacts } from '../../connection/request-semantics.ts'
import { PlatformResponse } from '../../platform/constructors.ts'
import { type PlainResponse, plainResponseOf } from '../../platform/light-response.ts'
import type { CallContext } from '../../runtime/call-context.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { asError, describeError } from '../../runtime/log.ts'
import { tickEnd } from '../../runtime/promises.ts'
import { type EventSink, type EventStream, eventStreamOf } from '../../topic/event-stream.ts'
import { isUpgradeResponse } from '../../websocket/upgrade-response.ts'
import type { HeaderField } from '../../wire/headers.ts'
import { CHUNK_END, LAST_CHUNK, renderChunkSize, renderHead } from '../../wire/http.ts'
import { DEFERRED_FIELD } from '../deferred/deferral.ts'

/** Where a response's bytes go. */
export interface ResponseSink extends EventSink {
  write(bytes: Uint8Array): void
  /** Calls an action when the server closes, or at the latest when the response has ended. */
  whenEnding(action: () => void): void
  /** Resolves when more may be written; undefined when it may be at once. */
  writable(): Promise<void> | undefined
  /** Whether the response was given up: it must not look complete. */
  readonly aborted: boolean
  /** Where the body's stream is read and cancelled, which calls the user's code. */
  readonly context: CallContext
  /**
   * Whether the connection can take another response behind this one: asked when its head goes out.
   *
   * @param complete Whether the whole response goes out with it, so that its body cannot be made of what is still to be read.
   */
  persists(complete: boolean): boolean
}

/**
 * Fields that a handler cannot set: those that concern one hop only (RFC 9110, section 7.6.1), those of a handshake that is accepted, and the
 * mark of a deferred response. Middleware such as Hono's copies them into the response that it sends instead.
 */
const RESERVED = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'sec-websocket-protocol',
  DEFERRED_FIELD,
])

/** Whether a handler cannot set a field, by its name in lower case. */
export function isReserved(name: string): boolean {
  return RESERVED.has(name)
}

/** A reason phrase (RFC 9112, section 4). */
const REASON = /^[\t\x20-\x7e\x80-\xff]*$/

const NULL_BODY_STATUS = new Set([204, 205, 304])

/**
 * Returns what a handler returned, if it can be sent.
 *
 * @throws Mongrel2Error `invalid_response` when it is no Response, says 1xx or `Response.error()`, or its body was read already.
 */
export function checkResponse(value: unknown): Response {
  if (!(value instanceof PlatformResponse)) {
    if (isResponseLike(value)) return checkResponse(adopt(value))
    throw new Mongrel2Error(
      'invalid_response',
      `expected the handler to return a Response, got ${describeValue(value)}`,
    )
  }
  if (plainResponseOf(value) !== undefined) return value
  if (isUpgradeResponse(value)) return value
  const { status, statusText, headers } = value
  // A subclass may say anything in the place of what the platform has checked.
  if (!(headers instanceof Headers)) return checkResponse(adopt(value))
  if (typeof statusText !== 'string' || !REASON.test(statusText)) {
    throw new Mongrel2Error(
      'invalid_response',
      `expected a statusText without control characters, got ${describeValue(statusText)}`,
    )
  }
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new Mongrel2Error(
      'invalid_response',
      status === 0
        ? 'expected a Response that can be sent, got Response.error()'
        : `expected a Response with a status from 200 to 599, got ${status}`,
    )
  }
  if (value.bodyUsed || value.body?.locked === true) {
    throw new Mongrel2Error(
      'invalid_response',
      'expected a Response whose body was not read yet: return it, or a clone made before',
    )
  }
  return value
}

/** A Response of another package or realm counts too: what it can do decides. */
function isResponseLike(value: unknown): value is Response {
  if (typeof value !== 'object' || value === null) return false
  const candidate = value as Partial<Response>
  return typeof candidate.status === 'number' && typeof candidate.headers?.forEach === 'function' && 'body' in candidate
}

/** Makes the platform's Response of another's, so that its values pass the platform's checks. */
function adopt(response: Response): Response {
  const headers = new Headers()
  response.headers.forEach((value, name) => {
    headers.append(name, value)
  })
  return new PlatformResponse(response.body, { status: response.status, statusText: response.statusText, headers })
}

function describeValue(value: unknown): string {
  if (typeof value !== 'object' || value === null) return describeError(value)
  try {
    return `an object of ${value.constructor?.name ?? 'no class'}`
  } catch {
    return 'an object that throws when it is looked at'
  }
}

/** How a response was sent. */
export interface Sent {
  /** Whether the connection can take another response. */
  readonly reusable: boolean
  /** What went wrong after the head was out; the client finds out by the connection's end. */
  readonly fault?: Error
  /** Whether its client has been found too slow: what it does not take soon is cut off. */
  readonly slow?: boolean
}

/** The body of a response under way, which can be given up from outside. */
export interface OpenBody {
  cancel(reason?: unknown): Promise<void>
}

/** A stream may hold anything, whatever its type says. */
type BodyReader = ReadableStreamDefaultReader<unknown>

/**
 * Sends a response that is there in full, if there is nothing special about it; otherwise returns undefined, and it is for `sendResponse`.
 * One long text, written once: `render, plain response` of the micro-benchmarks pays for it.
 */
export function sendPlain(plain: PlainResponse, facts: RequestFacts, sink: ResponseSink): Sent | undefined {
  const { status, statusText, fields, body, rendered } = plain
  const shared = rendered !== undefined && facts.persistent && !facts.http10 && facts.method !== 'HEAD'
  if (shared && rendered.bytes !== undefined) {
    sink.writeShared(rendered.bytes)
    return { reusable: true }
  }
  if (NULL_BODY_STATUS.has(status) || body instanceof Blob) return undefined
  const length = body === null ? 0 : typeof body === 'string' ? Buffer.byteLength(body) : body.length
  let head = `HTTP/1.1 ${status} ${statusText || (STATUS_CODES[status] ?? '')}\r\n`
  let dated = false
  for (const [name, value] of fields) {
    if (RESERVED.has(name) || name === 'content-length') return undefined
    if (name === 'date') dated = true
    head += `${name}: ${value}\r\n`
  }
  if (!dated) head += `date: ${httpDate()}\r\n`
  if (body !== null || facts.method !== 'HEAD') head += `content-length: ${length}\r\n`
  if (!facts.persistent) head += 'connection: close\r\n'
  else if (facts.http10) head += 'connection: keep-alive\r\n'
  const bytes = joinResponse(`${head}\r\n`, facts.method === 'HEAD' ? null : body, length)
  if (shared) {
    rendered.bytes = bytes
    sink.writeShared(bytes)
  } else sink.write(bytes)
  return { reusable: facts.persistent }
}

/**
 * Sends a response: status line, headers, and the body framed by its length where that is known when the head has to go,
 * by chunks to HTTP/1.1, by the end of the connection to HTTP/1.0.
 *
 * @param response One that `checkResponse` let through.
 * @param reading Told what is read, so that it can be cancelled when the client leaves.
 * @throws What the body's stream fails with before the head was sent; then nothing was.
 */
export async function sendResponse(
  response: Response,
  facts: RequestFacts,
  sink: ResponseSink,
  reading: (body: OpenBody) => void,
): Promise<Sent> {
  if (isUpgradeResponse(response)) {
    throw new Mongrel2Error(
      'invalid_response',
      'expected the response of upgradeWebSocket for the handshake it was made for',
    )
  }
  const blobSize = blobSizeOf(response)
  const { fields, length: givenLength = blobSize, close } = readHeaders(response)
  const { status, statusText } = response
  const writeHead = (framing: readonly HeaderField[], complete: boolean, delimited = true): Sent => {
    const reason = statusText || (STATUS_CODES[status] ?? '')
    const reusable = sink.persists(complete) && !close && delimited
    sink.write(renderHead(status, reason, [...fields, ...framing, ...connectionField(facts, reusable)]))
    return { reusable }
  }

  if (status === 204 || status === 304) {
    discardBody(response)
    return writeHead(status === 304 ? lengthField(givenLength) : [], true)
  }
  if (response.body === null) {
    if (facts.method === 'HEAD') return writeHead(lengthField(givenLength), true)
    const sent = writeHead(lengthField(givenLength ?? 0), true, !givenLength)
    return givenLength ? { reusable: false, fault: lengthFault(givenLength, 0) } : sent
  }

  const events = facts.http10 || facts.method === 'HEAD' ? undefined : eventStreamOf(response.body)
  if (events !== undefined && givenLength === undefined) {
    reading(events)
    const { reusable } = writeHead([['transfer-encoding', 'chunked']], false)
    return await sendEvents(events, sink, reusable)
  }
  const reader = response.body.getReader() as BodyReader
  reading(reader)
  const body = new BodyChunks(reader, sink.context)
  const length = givenLength ?? (await body.peekLength())
  if (facts.method === 'HEAD') {
    body.cancel()
    return writeHead(lengthField(length), true)
  }
  if (length !== undefined) {
    const { reusable } = writeHead(lengthField(length), givenLength === undefined || blobSize !== undefined)
    return await finished(sendCounted(body, length, sink), reusable)
  }
  if (facts.http10) {
    writeHead([], false, false)
    return await finished(sendUnframed(body, sink), false)
  }
  const { reusable } = writeHead([['transfer-encoding', 'chunked']], false)
  return await finished(sendChunked(body, sink), reusable)
}

/** A Blob's size is known without reading it. */
function blobSizeOf(response: Response): number | undefined {
  const body = plainResponseOf(response)?.body
  return body instanceof Blob ? body.size : undefined
}

/** A head and a body in one piece. */
function joinResponse(head: string, body: string | Uint8Array | null, length: number): Buffer {
  if (body === null) return Buffer.from(head, 'latin1')
  if (typeof body === 'string' && body.length === length) return Buffer.from(head + body, 'latin1')
  const bytes = Buffer.allocUnsafe(head.length + length)
  bytes.write(head, 'latin1')
  if (typeof body === 'string') bytes.write(body, head.length)
  else bytes.set(body, head.length)
  return bytes
}

/** The handler's headers as they go out, less those that are ours to say. */
interface ResponseHeaders {
  readonly fields: HeaderField[]
  readonly length: number | undefined
  readonly close: boolean
}

function readHeaders(response: Response): ResponseHeaders {
  const fields: HeaderField[] = []
  let length: number | undefined
  let dated = false
  const options = listItems(response.headers.get('connection') ?? '')
  response.headers.forEach((value, name) => {
    if (RESERVED.has(name) || options.includes(name)) return
    if (name === 'content-length') {
      length = parseLength(value)
      return
    }
    if (name === 'date') dated = true
    fields.push([name, value])
  })
  if (!dated) fields.push(['date', httpDate()])
  return { fields, length, close: options.includes('close') }
}

function parseLength(value: string): number {
  if (!/^\d+$/.test(value)) {
    throw new Mongrel2Error(
      'invalid_response',
      `expected a number as the response's content-length, got ${JSON.stringify(value)}`,
    )
  }
  return Number(value)
}

let dateText = ''
let dateSecond = 0

/** The time as HTTP writes it (RFC 9110, section 5.6.7), made once a second. */
function httpDate(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== dateSecond) {
    dateSecond = second
    dateText = new Date(second * 1000).toUTCString()
  }
  return dateText
}

function connectionField(facts: RequestFacts, reusable: boolean): HeaderField[] {
  if (!reusable) return [['connection', 'close']]
  return facts.http10 ? [['connection', 'keep-alive']] : []
}

function lengthField(length: number | undefined): HeaderField[] {
  return length === undefined ? [] : [['content-length', String(length)]]
}

function lengthFault(announced: number, came: number): Mongrel2Error {
  return new Mongrel2Error(
    'invalid_response',
    `expected ${announced} bytes of body, as the response's content-length says, got ${came > announced ? 'more' : came}`,
  )
}

/** Waits for a body to be sent; a failure now can only be shown by closing the connection. */
async function finished(sending: Promise<void>, persistent: boolean): Promise<Sent> {
  try {
    await sending
    return { reusable: persistent }
  } catch (error) {
    return { reusable: false, fault: asError(error) }
  }
}

async function sendCounted(body: BodyChunks, length: number, sink: ResponseSink): Promise<void> {
  let came = 0
  for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) {
    came += chunk.length
    if (came > length) {
      const fault = lengthFault(length, came)
      sink.write(chunk.subarray(0, chunk.length - (came - length)))
      body.cancel(fault)
      throw fault
    }
    sink.write(chunk)
    await sink.writable()
  }
  if (came < length && !sink.aborted) throw lengthFault(length, came)
}

async function sendUnframed(body: BodyChunks, sink: ResponseSink): Promise<void> {
  for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) {
    sink.write(chunk)
    await sink.writable()
  }
}

async function sendChunked(body: BodyChunks, sink: ResponseSink): Promise<void> {
  for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) {
    if (chunk.length === 0) continue // a chunk of no bytes would end the body
    sink.write(renderChunkSize(chunk.length))
    sink.write(chunk)
    sink.write(CHUNK_END)
    await sink.writable()
  }
  sink.write(LAST_CHUNK)
}

async function sendEvents(events: EventStream, sink: ResponseSink, persistent: boolean): Promise<Sent> {
  sink.whenEnding(() => events.end())
  const slow = (await events.writeTo(sink)) === 'slow'
  sink.write(LAST_CHUNK)
  return slow ? { reusable: false, slow } : { reusable: persistent }
}

/** A body's chunks, of which the first may be looked at before the head goes out. */
class BodyChunks {
  readonly #reader: BodyReader
  readonly #context: CallContext
  readonly #peeked: Uint8Array[] = []
  #pending: Promise<Uint8Array | undefined> | undefined
  readonly #readNext = () => this.#reader.read()

  constructor(reader: BodyReader, context: CallContext) {
    this.#reader = reader
    this.#context = context
  }

  /**
   * The body's length, if it ends with its first chunk before anything else can happen, as a string's or a buffer's does. One that
   * has to be waited for is not: its head goes out before.
   */
  async peekLength(): Promise<number | undefined> {
    const end = tickEnd()
    const first = await Promise.race([this.#peek(), end])
    if (first === undefined) return 0
    if (!(first instanceof Uint8Array)) return undefined
    this.#pending = undefined
    this.#peeked.push(first)
    const second = await Promise.race([this.#peek(), end])
    return second === undefined ? first.length : undefined
  }

  /** The next chunk; undefined at the end. */
  next(): Promise<Uint8Array | undefined> {
    const peeked = this.#peeked.shift()
    if (peeked !== undefined) return Promise.resolve(peeked)
    const pending = this.#pending ?? this.#read()
    this.#pending = undefined
    return pending
  }

  cancel(reason?: Error): void {
    this.#context.run(cancelBody, this.#reader, reason)
  }

  /** Begins to read the next chunk; what becomes of it is for `next`. */
  #peek(): Promise<Uint8Array | undefined> {
    const pending = this.#read()
    pending.catch(() => {}) // thrown again when it is asked for
    this.#pending = pending
    return pending
  }

  async #read(): Promise<Uint8Array | undefined> {
    const { done, value } = await this.#context.run(this.#readNext)
    if (done) return undefined
    const bytes = bytesOfChunk(value)
    if (bytes === undefined) {
      const error = new Mongrel2Error(
        'invalid_response',
        `expected the body's chunks to be bytes or text, got ${describeValue(value)}`,
      )
      this.cancel(error)
      throw error
    }
    return bytes
  }
}

/** The bytes of a body's chunk, text as UTF-8; undefined for anything else. */
function bytesOfChunk(chunk: unknown): Uint8Array | undefined {
  if (chunk instanceof Uint8Array) return chunk
  if (typeof chunk === 'string') return Buffer.from(chunk)
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  return isAnyArrayBuffer(chunk) ? new Uint8Array(chunk) : undefined
}

/** Gives up the body of a response that is not sent. */
export function discardBody(response: Response, reason?: unknown): void {
  if (plainResponseOf(response) !== undefined) return
  if (response.body !== null && !response.body.locked) response.body.cancel(reason).catch(() => {}) // nobody is left to be told
}

/** Gives up a body that is being read; not awaited, since its source decides when it is done with it. */
export function cancelBody(body: OpenBody, reason?: unknown): void {
  body.cancel(reason).catch(() => {}) // a body that cannot be cancelled has failed already
}
