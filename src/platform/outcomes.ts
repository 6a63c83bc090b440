import { STATUS_CODES } from 'node:http'
import { renderHead } from '../wire/http.ts'
import { createResponse } from './light-response.ts'

/**
 * An answer that is ours and not the handler's. All of them are made in this file, by a function for each case. Where there is nothing to
 * answer, the connection is only closed: frames without a handshake of ours, messages of JSON and XML clients without a handler for them,
 * parts of a body whose beginning went elsewhere, and answers that have begun but cannot be completed.
 */
export interface Outcome {
  readonly status: number
  /** The text of the answer; without one it is the status' own phrase. */
  readonly reason?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** An outcome that says why the request is refused. */
export interface Refusal extends Outcome {
  readonly reason: string
}

/** The only version of the WebSocket protocol (RFC 6455). */
export const WEBSOCKET_VERSION = '13'

/** 400: the request cannot be read in one way only, or the platform cannot represent it. */
export const badRequest = (reason: string): Refusal => ({ status: 400, reason })

/** 400: the body has another length than its headers say. */
export const lengthMismatch = (): Refusal => badRequest('Body and length disagree')

/** 400: upload headers that Mongrel2 did not write. */
export const forgedUpload = (): Refusal => badRequest('Upload headers are not for clients to send')

/** 400: the name of a stored body leads to something else than a file of Mongrel2's. */
export const uploadNoFile = (): Refusal => badRequest('The upload is no file')

/** 403: a page of another origin asks for a WebSocket. */
export const forbiddenOrigin = (): Refusal => ({ status: 403, reason: 'Origin is not allowed' })

/** 408: a part of the body did not come within `bodyTimeout`. */
export const bodyTimedOut = (): Refusal => ({ status: 408, reason: 'The body did not come in time' })

/** 411: a stored body without a length, where its end may go to another process (`shared` with `maxBodySize`). */
export const lengthRequired = (): Refusal => ({ status: 411, reason: 'A body needs a Content-Length here' })

/** 413: the body is larger than `maxBodySize`, or a message of it than `maxMessageSize`. */
export const tooLarge = (most: number): Refusal => ({ status: 413, reason: `Bodies may have ${most} bytes` })

/** 413: one part of a streamed body is larger than `maxMessageSize`. */
export const partTooLarge = (): Refusal => ({ status: 413, reason: 'A part of the body is longer than maxMessageSize' })

/** 426: no handshake of a WebSocket, where the handler wants one, or one of another version (RFC 6455, section 4.2.2). */
export const upgradeRequired = (reason: string): Refusal => ({
  status: 426,
  reason,
  headers: { 'sec-websocket-version': WEBSOCKET_VERSION },
})

/** 500: the handler failed, or returned a response that cannot be sent. */
export const handlerFailed = (): Outcome => ({ status: 500 })

/** 500: the file of a stored body cannot be read here. */
export const uploadUnreadable = (): Refusal => ({ status: 500, reason: 'The upload cannot be read' })

/** 502: the worker that had the request ended before it answered. */
export const workerLost = (): Outcome => ({ status: 502 })

/** 503: too many requests wait already (`maxQueued`), or no worker is ready. */
export const overloaded = (): Outcome => ({ status: 503, headers: { 'retry-after': '1' } })

/** 503: the server is closing. */
export const stopping = (): Refusal => ({ status: 503, reason: 'The server is stopping' })

/** 504: the handler did not return within `requestTimeout`, or a deferred answer did not come in time. */
export const timedOut = (): Outcome => ({ status: 504 })

/** Makes the response of an outcome. */
export function responseOf({ status, reason, headers }: Outcome): Response {
  if (reason === undefined) return createResponse(STATUS_CODES[status], headers ? { status, headers } : { status })
  const type = { 'content-type': 'text/plain; charset=utf-8' }
  return createResponse(`${reason}\n`, { status, headers: { ...headers, ...type } })
}

/** Renders an outcome as the last response of a connection. Without a text it has no body, and answers any method. */
export function renderOutcome({ status, headers = {} }: Outcome, text = ''): Buffer {
  const type = text === '' ? {} : { 'content-type': 'text/plain; charset=utf-8' }
  const length = String(Buffer.byteLength(text))
  const fields = { ...headers, ...type, 'content-length': length, connection: 'close' }
  return Buffer.concat([renderHead(status, STATUS_CODES[status] ?? '', Object.entries(fields)), Buffer.from(text)])
}
