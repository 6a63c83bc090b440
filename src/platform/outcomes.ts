import { reasonOf, renderHead } from '../wire/http.ts'
import { createResponse } from './light-response.ts'

/**
 * An answer that is ours, not the handler's. Each is made by a function in this file. Other connections are closed without an answer: frames without
 * a handshake, messages on message sockets without a handler, parts of a body whose beginning went elsewhere, and responses that cannot be completed.
 */
export interface Outcome {
  readonly status: number
  /** The text of the answer; by default the phrase of the status. */
  readonly reason?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** An outcome that says why the request is refused. */
export interface Refusal extends Outcome {
  readonly reason: string
}

/** The only version of the WebSocket protocol (RFC 6455). */
export const WEBSOCKET_VERSION = '13'

/** 400: the request is malformed or ambiguous, or the platform cannot represent it. */
export const badRequest = (reason: string): Refusal => ({ status: 400, reason })

/** 400: the body has another length than its headers say. */
export const lengthMismatch = (): Refusal => badRequest('Body and length disagree')

/** 400: upload headers that Mongrel2 did not write. */
export const forgedUpload = (): Refusal => badRequest('Upload headers are not for clients to send')

/** 400: the path of a stored body is not that of a file by Mongrel2. */
export const uploadNoFile = (): Refusal => badRequest('The upload is no file')

/** 403: a page of a forbidden origin asks for a WebSocket. */
export const forbiddenOrigin = (): Refusal => ({ status: 403, reason: 'Origin is not allowed' })

/** 403: `dev` does not answer for other names of this machine (DNS rebinding). */
export const foreignHost = (host: string): Refusal => {
  const reason = `mongrel2-fetch dev does not answer for the host ${host}; to let it, start it with --host ${host}`
  return { status: 403, reason }
}

/** 404: no route of the front has the path. */
export const noRoute = (): Outcome => ({ status: 404 })

/** 405: the front is no proxy (CONNECT). */
export const noProxy = (): Outcome => ({ status: 405 })

/** 408: a part of the body did not come within `bodyTimeout`. */
export const bodyTimedOut = (): Refusal => ({ status: 408, reason: 'The body did not come in time' })

/** 408: the head of a request did not come within `headersTimeout`. */
export const headTimedOut = (): Outcome => ({ status: 408 })

/** 411: a stored body has no length, and its end may go to another process (`shared` with `maxBodySize`). */
export const lengthRequired = (): Refusal => ({ status: 411, reason: 'A body needs a Content-Length here' })

/** 413: the body is larger than `maxBodySize`, or a message of it than `maxMessageSize`. */
export const tooLarge = (most: number): Refusal => ({ status: 413, reason: `Bodies may have ${most} bytes` })

/** 413: one part of a streamed body is larger than `maxMessageSize`. */
export const partTooLarge = (): Refusal => ({ status: 413, reason: 'A part of the body is longer than maxMessageSize' })

/** 413: the extensions of a chunk are larger than Node's parser allows. */
export const chunkTooLarge = (): Outcome => ({ status: 413 })

/** 417: the client expects something else than `100-continue`. */
export const unknownExpectation = (): Outcome => ({ status: 417 })

/** 426: the handler expects a WebSocket handshake, of version 13 (RFC 6455, section 4.2.2). */
export const upgradeRequired = (reason: string): Refusal => {
  return { status: 426, reason, headers: { 'sec-websocket-version': WEBSOCKET_VERSION } }
}

/** 431: the head of a request is larger than `bufferSize`. */
export const headTooLarge = (): Outcome => ({ status: 431 })

/** 500: the handler failed, or returned a response that cannot be sent. */
export const handlerFailed = (): Outcome => ({ status: 500 })

/** 500: the file of a stored body cannot be read here. */
export const uploadUnreadable = (): Refusal => ({ status: 500, reason: 'The upload cannot be read' })

/** 502: the worker that had the request ended before it answered. */
export const workerLost = (): Outcome => ({ status: 502 })

/** 502: a handler behind the front sent something that is no response. */
export const invalidResponse = (): Outcome => ({ status: 502 })

/** 503: too many requests wait already (`maxQueued`), or no worker is ready. */
export const overloaded = (): Outcome => ({ status: 503, headers: { 'retry-after': '1' } })

/** 503: the server is closing. */
export const stopping = (): Refusal => ({ status: 503, reason: 'The server is stopping' })

/** 504: the handler did not return within `requestTimeout`, or a deferred answer did not come in time. */
export const timedOut = (): Outcome => ({ status: 504 })

export function responseOf({ status, reason, headers }: Outcome): Response {
  if (reason === undefined) return createResponse(reasonOf(status), headers ? { status, headers } : { status })
  const type = { 'content-type': 'text/plain; charset=utf-8' }
  return createResponse(`${reason}\n`, { status, headers: { ...headers, ...type } })
}

/** Renders an outcome as the last response of a connection. Without a text it has no body, and fits any method. */
export function renderOutcome({ status, headers = {} }: Outcome, text = ''): Buffer {
  const type = text === '' ? {} : { 'content-type': 'text/plain; charset=utf-8' }
  const length = String(Buffer.byteLength(text))
  const fields = { ...headers, ...type, 'content-length': length, connection: 'close' }
  return Buffer.concat([renderHead(status, reasonOf(status), Object.entries(fields)), Buffer.from(text)])
}
