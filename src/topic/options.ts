import type { Budget, TopicData } from '../connection/shared-message.ts'
import { integer, invalid, isObject, known, MAX_BYTES, MAX_DELAY, oneOf } from '../options/option-check.ts'
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

/** Options of `topic.stream`. */
export interface StreamOptions {
  /** More header fields of the response. */
  headers?: ConstructorParameters<typeof Headers>[0]
}

const BUDGET_OPTIONS: readonly (keyof BudgetOptions)[] = ['maxBufferedBytes', 'whenSlow']
const EVENT_FIELDS: readonly (keyof EventFields)[] = ['event', 'id']
const NEXT_TIMEOUT = 25_000
const MAX_BUFFERED_BYTES = 1024 * 1024

// Each returns a checked value or throws a Mongrel2Error `invalid_option` that names the option, what was expected and what came.

export function checkTopicOptions(given: unknown): { name: string | undefined; budget: Budget } {
  if (typeof given === 'string') return { name: nameOf(given), budget: budgetOf({}) }
  if (!isObject(given)) throw invalid('options', 'a name, or an object', given)
  known('option of a topic', given, ['name', ...BUDGET_OPTIONS])
  return { name: given.name === undefined ? undefined : nameOf(given.name), budget: budgetOf(given) }
}

export function checkBudgetOptions(given: unknown): Budget {
  if (!isObject(given)) throw invalid('options', 'an object', given)
  known('option of broadcast', given, BUDGET_OPTIONS)
  return budgetOf(given)
}

export function checkNextOptions(given: unknown): Required<NextOptions> {
  if (!isObject(given)) throw invalid('options', 'an object', given)
  known('option of next', given, ['timeout'])
  return { timeout: integer('timeout', given.timeout, 0, MAX_DELAY, NEXT_TIMEOUT) }
}

export function checkStreamOptions(given: StreamOptions): Headers {
  const options: unknown = given
  if (!isObject(options)) throw invalid('options', 'an object', given)
  known('option of stream', options, ['headers'])
  const headers = new Headers(given.headers)
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-store')
  headers.set('content-type', 'text/event-stream')
  return headers
}

/** What is sent, where the compiler has not looked. */
export function checkData(data: TopicData): TopicData {
  if (typeof data !== 'string' && !isBytes(data)) throw invalid('data', 'a text or bytes', data)
  return data
}

/** A line break in a field would begin another. */
export function checkEventFields(given: unknown): EventFields {
  if (!isObject(given)) throw invalid('fields', '{ event, id }', given)
  known('field of an event', given, EVENT_FIELDS)
  return { ...fieldOf('event', given.event, /[\r\n]/), ...fieldOf('id', given.id, /[\r\n\0]/) }
}

function fieldOf(name: keyof EventFields, value: unknown, forbidden: RegExp): EventFields {
  if (value === undefined) return {}
  if (typeof value === 'string' && !forbidden.test(value)) return { [name]: value }
  throw invalid(name, 'a text in one line', value)
}

function nameOf(name: unknown): string {
  if (typeof name === 'string' && name !== '') return name
  throw invalid('name', 'a text', name)
}

function budgetOf({ maxBufferedBytes, whenSlow }: Record<string, unknown>): Budget {
  return {
    maxBufferedBytes: integer('maxBufferedBytes', maxBufferedBytes, 1, MAX_BYTES, MAX_BUFFERED_BYTES),
    whenSlow: oneOf('whenSlow', whenSlow, ['close', 'drop'], 'close'),
  }
}
