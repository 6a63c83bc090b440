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
  /** Whether neither side has closed it. */
  readonly isOpen: boolean
  /** Bytes given to `send` that are not delivered, as far as can be known. */
  readonly bufferedAmount: number
  /** The token for `send` of `createReplier`, by which any process can send messages between those that are sent here. */
  readonly token: string
  /**
   * Sends a message. Mongrel2 encodes it in base64 without a terminator, and leaves out a zero byte at its end; with `raw_payload=1` in the
   * Handler it sends the bytes as they are. An empty message is not sent, nor is any message once the connection is closed.
   *
   * When more than `maxBufferedBytes` would wait for the client, the connection is closed.
   *
   * @throws Mongrel2Error `over_budget` for a message that Mongrel2 would not deliver: with `download.flow_control` one of more than 102,400
   * bytes as sent, which is 76,800 before base64.
   */
  send(data: string | ArrayBuffer | ArrayBufferView): void
  /** Closes the connection after everything that was sent. */
  close(): void
}

/** A message of a client that speaks JSON to Mongrel2: `@route {...}` and a zero byte. */
export interface JsonMessage {
  /** The route that the client wrote, such as `@chat`. */
  readonly route: string
  /** The parsed JSON. */
  readonly data: unknown
}

/** A message of a client that speaks XML to Mongrel2: `<element ...>...</element>` and a zero byte. */
export interface XmlMessage {
  /** The name of its element with the bracket, such as `<chat`. */
  readonly route: string
  /** The whole message, decoded as UTF-8. */
  readonly data: string
}

/** Handlers for clients that send JSON or XML messages instead of HTTP (Mongrel2's manual, "JSSockets"). Their errors are logged. */
export interface MessageHandlers {
  /** Called for each JSON message, in order. Without it, a client that sends one is closed. */
  json?(message: JsonMessage, connection: MessageConnection): void | Promise<void>
  /** Called for each XML message, in order. Without it, a client that sends one is closed. */
  xml?(message: XmlMessage, connection: MessageConnection): void | Promise<void>
  /** Called before a client's first message. */
  open?(connection: MessageConnection): void | Promise<void>
  /** Called once when either side has closed the connection. */
  close?(connection: MessageConnection): void | Promise<void>
  /** Called with what the other handlers throw, and with the reason when a connection is closed because its client is too slow. */
  error?(error: unknown, connection: MessageConnection): void | Promise<void>
  /** Whether the Handler has `raw_payload=1`, so that Mongrel2 does not encode messages. Default: false. */
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
