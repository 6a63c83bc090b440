import type { RequestSemantics } from '../../connection/request-semantics.ts'
import { type EventSink, type EventStream, eventStreamOf } from '../../topic/event-stream.ts'
import { NULL_BODY_STATUS } from './plain-response.ts'
import { CHUNKED, ResponseHead } from './response-head.ts'
import type { ResponseSink } from './send-response.ts'

/** The body of a response whose events can be written to the connection: in chunks, which HTTP/1.0 lacks. Undefined for any other response. */
export function sendableEvents(response: Response, { http10, method }: RequestSemantics): EventStream | undefined {
  if (http10 || method === 'HEAD' || NULL_BODY_STATUS.has(response.status)) return undefined
  return response.headers.has('content-length') ? undefined : eventStreamOf(response)
}

/**
 * Writes the head, then the events as they come, without a promise: thousands of clients wait. The sink is told when they end.
 *
 * @returns Whether the connection can be used again after that.
 */
export function sendEvents(
  events: EventStream,
  response: Response,
  semantics: RequestSemantics,
  sink: ResponseSink & EventSink,
): boolean {
  const reusable = new ResponseHead(response).write(sink, semantics, { fields: CHUNKED, complete: false })
  events.writeTo(sink)
  return reusable
}
