import { isAnyArrayBuffer } from 'node:util/types'
import type { RequestSemantics } from '../../connection/request-semantics.ts'
import { bodyStreamOf, LazyBody, plainResponseOf } from '../../platform/light-response.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { asError } from '../../runtime/log.ts'
import { tickEnd } from '../../runtime/promises.ts'
import { isUpgradeResponse } from '../../websocket/handshake.ts'
import { CHUNK_END, LAST_CHUNK, renderChunkSize } from '../../wire/http.ts'
import { describeValue, invalidResponse } from './check-response.ts'
import { CHUNKED, lengthLine, ResponseHead } from './response-head.ts'
import type { ResponseSink, Sent } from './response-sink.ts'

/** A body being sent, which can be cancelled from outside. */
export interface OpenBody {
  cancel(reason?: unknown): Promise<void>
}

/** A stream may give any value, whatever its type says. */
type BodyReader = ReadableStreamDefaultReader<unknown>

/** How a body's end is marked: by its length, by chunks, or by the end of the connection. */
type Framing = number | 'chunked' | 'close'

/**
 * Sends a response that `checkResponse` returned. The body is framed by its length where that is known when the head goes out, otherwise by chunks
 * (HTTP/1.1) or the end of the connection (HTTP/1.0). Called in the handler's context, since the body's stream is the user's code.
 *
 * @param reading Called with the body that is read, so that it can be cancelled when the client leaves.
 * @throws The error of the body's stream, if it fails before the head goes out.
 */
export async function sendResponse(
  response: Response,
  semantics: RequestSemantics,
  sink: ResponseSink,
  reading: (body: OpenBody) => void,
): Promise<Sent> {
  if (isUpgradeResponse(response)) {
    const expected = 'expected the response of upgradeWebSocket for the handshake it was made for'
    throw new Mongrel2Error('invalid_response', expected)
  }
  const plainBody = plainResponseOf(response)?.body
  const blobSize = plainBody instanceof Blob ? plainBody.size : undefined
  const head = new ResponseHead(response)
  const { length: givenLength = blobSize } = head
  const { status } = response
  const writeHead = (length: number | undefined, delimited = true): Sent => ({
    reusable: head.write(sink, semantics, { line: lengthLine(length), complete: true, delimited }),
  })

  if (status === 204 || status === 304) {
    discardBody(response)
    return writeHead(status === 304 ? givenLength : undefined)
  }
  const stream = bodyStreamOf(response)
  if (stream === null) {
    if (semantics.method === 'HEAD') return writeHead(givenLength)
    const sent = writeHead(givenLength ?? 0, !givenLength)
    return givenLength ? { reusable: false, fault: lengthFault(givenLength, 0) } : sent
  }

  const reader = stream.getReader() as BodyReader
  reading(reader)
  const body = new BodyChunks(reader)
  const length = givenLength ?? (await body.peekLength())
  if (semantics.method === 'HEAD') {
    body.cancel()
    return writeHead(length)
  }
  const framing: Framing = length ?? (semantics.http10 ? 'close' : 'chunked')
  const complete = length !== undefined && (givenLength === undefined || blobSize !== undefined)
  const line = framing === 'chunked' ? CHUNKED : lengthLine(length)
  const delimited = framing !== 'close'
  if (body.whole !== undefined) return { reusable: head.write(sink, semantics, { line, complete, body: body.whole }) }
  const reusable = head.write(sink, semantics, { line, complete, delimited })
  try {
    await sendBody(body, framing, sink)
    return { reusable }
  } catch (error) {
    return { reusable: false, fault: asError(error) }
  }
}

function lengthFault(announced: number, came: number): Mongrel2Error {
  const expected = `${announced} bytes of body, as the response's content-length says`
  return invalidResponse(expected, came > announced ? 'more' : came)
}

async function sendBody(body: BodyChunks, framing: Framing, sink: ResponseSink): Promise<void> {
  let came = 0
  for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) {
    if (chunk.length === 0) continue // a chunk of no bytes would end the body
    came += chunk.length
    if (framing === 'chunked') {
      sink.write(renderChunkSize(chunk.length))
      sink.write(chunk)
      sink.write(CHUNK_END)
    } else if (framing === 'close' || came <= framing) sink.write(chunk)
    else {
      sink.write(chunk.subarray(0, chunk.length - (came - framing)))
      const fault = lengthFault(framing, came)
      body.cancel(fault)
      throw fault
    }
    await sink.writable()
  }
  if (framing === 'chunked') sink.write(LAST_CHUNK)
  else if (framing !== 'close' && came < framing && !sink.aborted) throw lengthFault(framing, came)
}

const NOTHING = new Uint8Array(0)

/** The chunks of a body, the first of which can be read before the head goes out. */
class BodyChunks {
  readonly #reader: BodyReader
  #peeked: Uint8Array | undefined
  /** What was read beyond that. */
  #pending: ReturnType<BodyReader['read']> | undefined
  /** The whole body, if `peekLength` found its length. */
  whole: Uint8Array | undefined

  constructor(reader: BodyReader) {
    this.#reader = reader
  }

  /**
   * The body's length, if it ends with its first chunk in this tick, as a string or a buffer does; otherwise undefined. By callbacks: two races of
   * promises would cost as much as all else that is done for a response.
   */
  peekLength(): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      let over = false
      const end = () => {
        over = true
        resolve(undefined)
      }
      const found = (bytes: Uint8Array) => {
        this.whole = bytes
        resolve(bytes.length)
      }
      void tickEnd().then(end)
      this.#pending = this.#reader.read()
      this.#pending.then(({ done, value }) => {
        if (over) return
        if (done) return found(NOTHING)
        const bytes = bytesOfChunk(value)
        if (bytes === undefined) return reject(this.#refuse(value))
        this.#peeked = bytes
        this.#pending = this.#reader.read()
        this.#pending.then((second) => (second.done && !over ? found(bytes) : end()), reject)
      }, reject)
    })
  }

  cancel(reason?: Error): void {
    cancelBody(this.#reader, reason)
  }

  /** The next chunk; undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    const peeked = this.#peeked
    this.#peeked = undefined
    if (peeked !== undefined) return peeked
    const pending = this.#pending ?? this.#reader.read()
    this.#pending = undefined
    const { done, value } = await pending
    if (done) return undefined
    const bytes = bytesOfChunk(value)
    if (bytes !== undefined) return bytes
    throw this.#refuse(value)
  }

  /** Cancels the stream that gave a chunk which is none; returns the error. */
  #refuse(value: unknown): Error {
    const error = invalidResponse("the body's chunks to be bytes or text", describeValue(value))
    this.cancel(error)
    return error
  }
}

/** The bytes of a body's chunk, text as UTF-8; undefined for anything else. */
function bytesOfChunk(chunk: unknown): Uint8Array | undefined {
  if (chunk instanceof Uint8Array) return chunk
  if (typeof chunk === 'string') return Buffer.from(chunk)
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  return isAnyArrayBuffer(chunk) ? new Uint8Array(chunk) : undefined
}

/** Cancels the body of a response that is not sent. */
export function discardBody(response: Response, reason?: unknown): void {
  const plain = plainResponseOf(response)
  if (plain?.body instanceof LazyBody) plain.body.cancel()
  if (plain !== undefined) return
  const stream = bodyStreamOf(response)
  if (stream !== null && !stream.locked) stream.cancel(reason).catch(() => {}) // nothing waits for it
}

/** Cancels a body that is being read, without waiting for its source. */
export function cancelBody(body: OpenBody, reason?: unknown): void {
  body.cancel(reason).catch(() => {}) // a body that cannot be cancelled has failed
}
