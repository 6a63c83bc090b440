import type { RequestSemantics } from '../../connection/request-semantics.ts'
import { NULL_BODY_STATUS } from '../../platform/light-response.ts'
import { type EventSink, type EventStream, eventStreamOf } from '../../topic/event-stream.ts'
import { CHUNKED, ResponseHead } from './response-head.ts'
import type { ResponseSink } from './response-sink.ts'

/** The body of a response whose events can be written to the connection: in chunks, which HTTP/1.0 lacks. Undefined for any other response. */
function sendableEvents(response: Response, { http10, method }: RequestSemantics): EventStream | undefined {
  if (http10 || method === 'HEAD' || NULL_BODY_STATUS.has(response.status)) return undefined
  return response.headers.has('content-length') ? undefined : eventStreamOf(response)
}

/**
 * Sends a response whose body is an event stream: the head, then the events as they come, without a promise, since thousands of clients wait. The
 * sink is told when they end.
 *
 * @param sending Called with the events before any is sent.
 * @returns Whether the connection can be used again after that; undefined for any other response.
 */
export function sendEvents(
  response: Response,
  semantics: RequestSemantics,
  sink: ResponseSink & EventSink,
  sending: (events: EventStream) => void,
): boolean | undefined {
  const events = sendableEvents(response, semantics)
  if (events === undefined) return undefined
  sending(events)
  const reusable = new ResponseHead(response).write(sink, semantics, { line: CHUNKED, complete: false })
  events.writeTo(sink)
  return reusable
}
