import type { Budget, TopicData } from '../connection/shared-message.ts'
import * as is from '../options/option.ts'
import { invalid } from '../runtime/errors.ts'
import { isBytes } from '../wire/bytes.ts'
import type { EventFields } from '../wire/http.ts'

/** What happens to members that are too slow for what is sent. Sizes are in bytes. */
export interface BudgetOptions {
  /** Bytes that may wait for a member; one message may be longer by itself. Default: 1 MiB. */
  maxBufferedBytes?: number
  /**
   * What happens to a member for which more would wait. `close`: it is closed behind what waits for it, a WebSocket with the code 1013, an
   * event stream by its end. `drop`: it does not get this message. Default: `close`.
   */
  whenSlow?: 'close' | 'drop'
}

/** Options of a topic. */
export interface TopicOptions extends BudgetOptions {
  /** Topics of the same name are one, in all workers of `serveWithWorkers`. Default: none. */
  name?: string
}

/** Options of `topic.next`. */
export interface NextOptions {
  /** Milliseconds after which the answer is an empty one with the status 204. Default: 25,000. */
  timeout?: number
}

/** How an open response has messages: as server-sent events, or one behind the other as they are. */
export type StreamFormat = 'events' | 'bytes'

/** Options of `topic.stream`. */
export interface StreamOptions {
  /**
   * `events`: messages are server-sent events, for a browser's `EventSource`. `bytes`: they are the body as they are, for example audio, or JSON in
   * lines; set `content-type` in `headers`. Default: `events`.
   */
  format?: StreamFormat
  /** More header fields of the response. */
  headers?: ConstructorParameters<typeof Headers>[0]
}

const BUDGET = {
  maxBufferedBytes: is.bytes(is.MIB, [1, is.MAX_BYTES]),
  whenSlow: is.oneOf(['close', 'drop'], 'close'),
} satisfies is.Described<BudgetOptions>
export const TOPIC_OPTIONS = { name: is.text('a text'), ...BUDGET } satisfies is.Described<TopicOptions>
const NEXT = { timeout: is.milliseconds(25_000, 0) } satisfies is.Described<NextOptions>
const STREAM = {
  format: is.oneOf(['events', 'bytes'], 'events'),
  headers: is.unchecked<StreamOptions['headers']>(),
} satisfies is.Described<StreamOptions>
/** A line break in a field would begin another. */
const EVENT = {
  event: is.text('a text in one line', (text) => !/[\r\n]/.test(text)),
  id: is.text('a text in one line', (text) => !/[\r\n\0]/.test(text)),
}
const checkTopic = is.checkerOf('option of a topic', 'a name, or an object', TOPIC_OPTIONS)
const checkStream = is.checkerOf('option of stream', 'an object', STREAM)
const checkEvent = is.checkerOf('field of an event', '{ event, id }', EVENT satisfies is.Described<EventFields>)

// Each throws a Mongrel2Error `invalid_option` that names the option, what was expected and what came.

export const checkBudgetOptions: (options: unknown) => Budget = is.checkerOf('option of broadcast', 'an object', BUDGET)
export const checkNextOptions = is.checkerOf('option of next', 'an object', NEXT)

export function checkTopicOptions(given: unknown): { name: string | undefined; budget: Budget } {
  const { name, ...budget } = checkTopic(typeof given === 'string' ? { name: given } : given)
  return { name, budget }
}

export function checkStreamOptions(options: StreamOptions): { format: StreamFormat; headers: Headers } {
  const { format, headers: given } = checkStream(options)
  const headers = new Headers(given)
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-store')
  if (format === 'events') headers.set('content-type', 'text/event-stream')
  else if (!headers.has('content-type')) headers.set('content-type', 'application/octet-stream')
  return { format, headers }
}

/** What is sent, where the compiler has not looked. */
export function checkData(data: TopicData): TopicData {
  if (typeof data !== 'string' && !isBytes(data)) throw invalid('data', 'a text or bytes', data)
  return data
}

export function checkEventFields(given: unknown): EventFields {
  const { event, id } = checkEvent(given, 'fields')
  return { ...(event !== undefined && { event }), ...(id !== undefined && { id }) }
}
