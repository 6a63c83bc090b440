import * as is from '../options/option.ts'

/** A client that sends JSON or XML messages to Mongrel2. */
export interface MessageConnection {
  /** The Handler's `send_ident`. */
  readonly sender: string
  /** Mongrel2's number for the connection, unique while that Mongrel2 runs. */
  readonly connectionId: number
  /** The route that matched its first message, such as `@chat`. */
  readonly pattern: string
  /** The client's address. */
  readonly remoteAddress: string
  /** Whether it is open: neither side has closed it. */
  readonly isOpen: boolean
  /** Bytes given to `send` that have not been delivered, as far as can be known. */
  readonly bufferedAmount: number
  /** What `send` of `createReplier` takes, in any process: messages of others go between those that are sent here. */
  readonly token: string
  /**
   * Sends a message, of which nothing else is known than its bytes. Mongrel2 encodes each in base64 and puts nothing behind it, and leaves out
   * a zero byte at its end; with `raw_payload=1` in the Handler it sends them as they are. One of no bytes is none.
   *
   * When more than `maxBufferedBytes` wait for the client, the connection is closed. Once it is closed, nothing is sent.
   *
   * @throws Mongrel2Error `over_budget` for a message that Mongrel2 would not deliver: under `download.flow_control` one of more than 102,400 bytes as
   * they are sent, 76,800 before they are encoded.
   */
  send(data: string | ArrayBuffer | ArrayBufferView): void
  /** Closes it when what was sent has gone out. */
  close(): void
}

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
  /** Called for each JSON message, in their order. Without it, connections that send one are closed. */
  json?(message: JsonMessage, connection: MessageConnection): void | Promise<void>
  /** Called for each XML message, in their order. Without it, connections that send one are closed. */
  xml?(message: XmlMessage, connection: MessageConnection): void | Promise<void>
  /** Called before the first message of a client. */
  open?(connection: MessageConnection): void | Promise<void>
  /** Called once when a connection is no more, by either side. */
  close?(connection: MessageConnection): void | Promise<void>
  /** Called with what the others throw, and why a connection was closed when neither side asked for it. */
  error?(error: unknown, connection: MessageConnection): void | Promise<void>
  /** Whether the Handler has `raw_payload=1`: Mongrel2 does not encode what it sends then. Default: false. */
  rawPayload?: boolean
}

const HANDLERS = {
  json: is.callback(),
  xml: is.callback(),
  open: is.callback(),
  close: is.callback(),
  error: is.callback(),
  rawPayload: is.boolean(false),
} satisfies is.Described<MessageHandlers>
const checkHandlers = is.checkerOf('option of messages', '{ json, xml, open, close, error, rawPayload }', HANDLERS)

/** The option `messages`. */
export const MESSAGES: is.Option<MessageHandlers | undefined> = is.checkedBy((name, given) => {
  if (given !== undefined) checkHandlers(given, name)
  return given as MessageHandlers | undefined
})
