import * as is from '../options/option.ts'
import { invalid, isObject } from '../runtime/errors.ts'

/** Whose pages may open a WebSocket: a list of origins such as `https://example.org`, a pattern, or a function. */
export type OriginCheck = readonly string[] | RegExp | ((origin: string | undefined) => boolean)

/** How messages are compressed (RFC 7692). */
export interface PerMessageDeflateOptions {
  /** Whether messages may refer to earlier ones, which makes them smaller, but takes some 300 KB of memory a socket. Default: false. */
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
  /** Time without a message after which a client is closed; at half of it, the client gets a ping. Default: 0, never. */
  idleTimeout?: number
  /** Bytes that a message of the client may have, at most the server's `maxMessageSize`; more ends the socket with 1009. Default: 1 MiB, or less by that. */
  maxPayload?: number
  /** Bytes of messages that may wait for the client; more ends the socket. Default: that of `serveMongrel2`. */
  maxBufferedBytes?: number
  /** Whether messages are compressed where the client can do it (RFC 7692). Default: false. */
  perMessageDeflate?: boolean | PerMessageDeflateOptions
  /** Whose pages may open it. Others get a 403, and so do clients without an Origin, unless a function decides. Default: anybody's. */
  origin?: OriginCheck
}

/** What holds for all sockets of a server. */
export interface SocketSettings {
  /** Bytes that may wait for a client by default. */
  readonly maxBufferedBytes: number
  /** Bytes of a frame that the link lets through. */
  readonly maxMessageSize: number
}

export const DEFLATE = {
  contextTakeover: is.boolean(false),
  threshold: is.bytes(is.KIB, [0]),
} satisfies is.Described<PerMessageDeflateOptions>
const checkDeflate = is.checkerOf('option of perMessageDeflate', 'true, false or an object', DEFLATE)

/** What depends on neither the client nor the server. */
export const UPGRADE_OPTIONS = {
  protocol: is.unchecked<string | undefined>(),
  headers: is.checkedBy(checkHeaders),
  idleTimeout: is.milliseconds(0, 0),
  maxPayload: is.unchecked<number | undefined>(),
  maxBufferedBytes: is.unchecked<number | undefined>(),
  perMessageDeflate: is.checkedBy((name, given) => {
    if (!isObject(given) && !is.boolean(false).check(name, given)) return undefined
    return checkDeflate(isObject(given) ? given : {}, name)
  }),
  origin: is.checkedBy(checkOrigin),
} satisfies is.Described<UpgradeWebSocketOptions>
const checkOptions = is.checkerOf('option of upgradeWebSocket', 'an object', UPGRADE_OPTIONS)

/** Fields of the answer that the user cannot set. */
const OURS = /^(?:connection|upgrade|sec-websocket-.*|transfer-encoding|content-length)$/

/** Checks the options of `upgradeWebSocket`; throws a Mongrel2Error `invalid_option`. `offered` are the client's subprotocols. */
export function checkUpgradeOptions(
  options: UpgradeWebSocketOptions,
  offered: readonly string[],
  server: SocketSettings,
) {
  const { perMessageDeflate, origin, protocol, maxPayload, maxBufferedBytes, ...settings } = checkOptions(options)
  return {
    ...settings,
    protocol: checkProtocol(protocol, offered),
    maxPayload: checkMaxPayload(maxPayload, server.maxMessageSize),
    maxBufferedBytes: is.bytes(server.maxBufferedBytes, [1]).check('maxBufferedBytes', maxBufferedBytes),
    deflate: perMessageDeflate,
    allows: origin,
  }
}

/** The options, checked and with their defaults. */
export type UpgradeSettings = ReturnType<typeof checkUpgradeOptions>

/** A longer message never comes: the link does not keep it. */
function checkMaxPayload(maxPayload: unknown, most: number): number {
  if (typeof maxPayload === 'number' && maxPayload > most) {
    throw invalid('maxPayload', `at most the option maxMessageSize of the server, which is ${most}`, maxPayload)
  }
  return is.bytes(Math.min(is.MIB, most), [0, most]).check('maxPayload', maxPayload)
}

/** What the client offered are tokens, so nothing else gets into a header. */
function checkProtocol(protocol: unknown, offered: readonly string[]): string | undefined {
  if (protocol === undefined) return undefined
  if (typeof protocol === 'string' && offered.includes(protocol)) return protocol
  const expected =
    offered.length === 0 ? 'none, since the client offers none' : `one that the client offers (${offered.join(', ')})`
  throw invalid('protocol', expected, protocol)
}

function checkHeaders(option: string, init: unknown): Headers {
  let headers: Headers
  try {
    headers = new Headers(init as UpgradeWebSocketOptions['headers'])
  } catch (error) {
    throw invalid(option, 'header fields', error instanceof Error ? error.message : error)
  }
  for (const name of headers.keys()) {
    if (OURS.test(name)) throw invalid(option, 'fields that the handshake does not set itself', name)
  }
  return headers
}

function checkOrigin(name: string, check: unknown): (origin: string | undefined) => boolean {
  if (check === undefined) return () => true
  if (typeof check === 'function') return (origin) => check(origin) === true
  if (check instanceof RegExp) return (origin) => origin !== undefined && origin.search(check) !== -1
  if (Array.isArray(check) && check.every((origin) => typeof origin === 'string')) {
    return (origin) => origin !== undefined && check.includes(origin)
  }
  throw invalid(name, 'a list of origins, a RegExp or a function', check)
}
