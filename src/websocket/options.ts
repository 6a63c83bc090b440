import { boolean, integer, invalid, isObject, known, MAX_DELAY } from '../options/option-check.ts'

/** Whose pages may open a WebSocket: a list of origins such as `https://example.org`, a pattern, or a function. */
export type OriginCheck = readonly string[] | RegExp | ((origin: string | undefined) => boolean)

/** How messages are compressed (RFC 7692). */
export interface PerMessageDeflateOptions {
  /**
   * Whether messages are compressed by what those before have in common with them: smaller, but some 300 KB of memory for each
   * socket. Default: false.
   */
  contextTakeover?: boolean
  /** Bytes from which on messages are compressed. Default: 1024. */
  threshold?: number
}

/** Options of `upgradeWebSocket`. Times are in milliseconds, sizes in bytes. */
export interface UpgradeWebSocketOptions {
  /** The subprotocol, one of those that the client offers. Default: none. */
  protocol?: string
  /** More header fields of the answer. */
  headers?: ConstructorParameters<typeof Headers>[0]
  /** A client that says nothing for so long is given up; at half of it, it is asked for a sign of life. Default: 0, never. */
  idleTimeout?: number
  /** Bytes that a message of the client may have, at most the server's `maxMessageSize`; more ends the socket with 1009. Default: 1 MiB, or less by that. */
  maxPayload?: number
  /** Bytes of messages that may wait for the client; more ends the socket. Default: that of `serveMongrel2`. */
  maxBufferedBytes?: number
  /** Whether messages are compressed where the client can do it (RFC 7692). Default: false. */
  perMessageDeflate?: boolean | PerMessageDeflateOptions
  /**
   * Whose pages may open it. Others are answered with 403, and so are clients that name none, but by a function, which decides. Default: anybody's.
   */
  origin?: OriginCheck
}

/** What a server says of all its sockets. */
export interface SocketSettings {
  /** Where the user says nothing else, how many bytes may wait for the client. */
  readonly maxBufferedBytes: number
  /** Bytes of a frame that the link lets through. */
  readonly maxMessageSize: number
}

/** The options, checked and with their defaults. */
export interface UpgradeSettings {
  readonly protocol: string | undefined
  readonly headers: Headers
  readonly idleTimeout: number
  readonly maxPayload: number
  readonly maxBufferedBytes: number
  readonly deflate: Required<PerMessageDeflateOptions> | undefined
  readonly allows: (origin: string | undefined) => boolean
}

const OPTIONS: readonly (keyof UpgradeWebSocketOptions)[] = [
  'protocol',
  'headers',
  'idleTimeout',
  'maxPayload',
  'maxBufferedBytes',
  'perMessageDeflate',
  'origin',
]
const DEFLATE_OPTIONS: readonly (keyof PerMessageDeflateOptions)[] = ['contextTakeover', 'threshold']

const MAX_PAYLOAD = 1024 * 1024

/** Fields of the answer that are not the user's to say. */
const OURS = /^(?:connection|upgrade|sec-websocket-.*|transfer-encoding|content-length)$/

/**
 * Checks what a user gave to `upgradeWebSocket`.
 *
 * @param offered The subprotocols that the client offers.
 * @param server The server's own settings.
 * @throws Mongrel2Error `invalid_option`, naming the option, what was expected and what came.
 */
export function checkUpgradeOptions(
  options: UpgradeWebSocketOptions,
  offered: readonly string[],
  { maxBufferedBytes, maxMessageSize }: SocketSettings,
): UpgradeSettings {
  const given: unknown = options
  if (!isObject(given)) throw invalid('options', 'an object', given)
  known('option of upgradeWebSocket', options, OPTIONS)
  return {
    protocol: protocolOf(options.protocol, offered),
    headers: headersOf(options.headers),
    idleTimeout: integer('idleTimeout', options.idleTimeout, 0, MAX_DELAY, 0),
    maxPayload: maxPayloadOf(options.maxPayload, maxMessageSize),
    maxBufferedBytes: integer(
      'maxBufferedBytes',
      options.maxBufferedBytes,
      1,
      Number.MAX_SAFE_INTEGER,
      maxBufferedBytes,
    ),
    deflate: deflateOf(options.perMessageDeflate),
    allows: originCheckOf(options.origin),
  }
}

/** A longer message never comes: the link does not keep it. */
function maxPayloadOf(maxPayload: unknown, maxMessageSize: number): number {
  const most = `at most the option maxMessageSize of the server, which is ${maxMessageSize}`
  if (typeof maxPayload === 'number' && maxPayload > maxMessageSize) throw invalid('maxPayload', most, maxPayload)
  return integer('maxPayload', maxPayload, 0, maxMessageSize, Math.min(MAX_PAYLOAD, maxMessageSize))
}

/** What the client offered are tokens, so nothing else gets into a header. */
function protocolOf(protocol: unknown, offered: readonly string[]): string | undefined {
  if (protocol === undefined) return undefined
  if (typeof protocol === 'string' && offered.includes(protocol)) return protocol
  const expected =
    offered.length === 0 ? 'none, since the client offers none' : `one that the client offers (${offered.join(', ')})`
  throw invalid('protocol', expected, protocol)
}

function headersOf(init: UpgradeWebSocketOptions['headers']): Headers {
  let headers: Headers
  try {
    headers = new Headers(init)
  } catch (error) {
    throw invalid('headers', 'header fields', error instanceof Error ? error.message : error)
  }
  for (const name of headers.keys()) {
    if (OURS.test(name)) throw invalid('headers', 'fields that the handshake does not say itself', name)
  }
  return headers
}

function deflateOf(given: unknown): Required<PerMessageDeflateOptions> | undefined {
  if (!isObject(given)) {
    return boolean('perMessageDeflate', given, false) ? { contextTakeover: false, threshold: 1024 } : undefined
  }
  known('option of perMessageDeflate', given, DEFLATE_OPTIONS)
  return {
    contextTakeover: boolean('perMessageDeflate.contextTakeover', given.contextTakeover, false),
    threshold: integer('perMessageDeflate.threshold', given.threshold, 0, Number.MAX_SAFE_INTEGER, 1024),
  }
}

function originCheckOf(check: OriginCheck | undefined): UpgradeSettings['allows'] {
  if (check === undefined) return () => true
  if (typeof check === 'function') return (origin) => check(origin) === true
  if (check instanceof RegExp) return (origin) => origin !== undefined && origin.search(check) !== -1
  if (Array.isArray(check) && check.every((origin) => typeof origin === 'string')) {
    return (origin) => origin !== undefined && check.includes(origin)
  }
  throw invalid('origin', 'a list of origins, a RegExp or a function', check)
}
