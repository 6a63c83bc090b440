import { boolean, invalid, isObject, known, optionalFunction } from '../../option-check.ts'
import type { MessageConnection } from './connection.ts'

/** A message of a client that speaks JSON to Mongrel2: `@route {...}` and a zero byte. */
export interface JsonMessage {
  /** Where the client sent it, such as `@chat`. */
  readonly route: string
  /** What the JSON says. */
  readonly data: unknown
}

/** A message of a client that speaks XML to Mongrel2: `<element ...>...</element>` and a zero byte. */
export interface XmlMessage {
  /** The name of its element with the bracket before it, such as `<chat`. */
  readonly route: string
  /** All of it as text, read as UTF-8. */
  readonly data: string
}

/** What becomes of clients that send JSON or XML messages rather than HTTP (Mongrel2's manual, "JSSockets"). What these throw is logged. */
export interface MessageHandlers {
  /** Called for each JSON message, in their order. Without it, who sends one is closed. */
  json?(message: JsonMessage, connection: MessageConnection): void | Promise<void>
  /** Called for each XML message, in their order. Without it, who sends one is closed. */
  xml?(message: XmlMessage, connection: MessageConnection): void | Promise<void>
  /** Called before the first message of a client. */
  open?(connection: MessageConnection): void | Promise<void>
  /** Called once when a connection is no more, by either side's will. */
  close?(connection: MessageConnection): void | Promise<void>
  /** Told what the others throw, and why a connection was closed where that was neither side's will. */
  error?(error: unknown, connection: MessageConnection): void | Promise<void>
  /** Whether the Handler has `raw_payload=1`: Mongrel2 does not encode what it sends then. Default: false. */
  rawPayload?: boolean
}

const HANDLERS = ['json', 'xml', 'open', 'close', 'error'] as const

/** @throws Mongrel2Error `invalid_option`, naming the option, what was expected and what came. */
export function checkMessages(messages: MessageHandlers | undefined): MessageHandlers | undefined {
  const given: unknown = messages
  if (given === undefined) return undefined
  if (!isObject(given)) throw invalid('messages', '{ json, xml, open, close, error, rawPayload }', given)
  known('option of messages', given, [...HANDLERS, 'rawPayload'])
  for (const name of HANDLERS) optionalFunction(`messages.${name}`, given[name])
  boolean('messages.rawPayload', given.rawPayload, false)
  return messages
}
