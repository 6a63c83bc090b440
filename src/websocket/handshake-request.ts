import { listItems } from '../connection/request-semantics.ts'
import type { Message } from '../wire/message.ts'

/** What a client's handshake says (RFC 6455, section 4.2.1). */
export interface HandshakeRequest {
  /** What the answer says in Sec-WebSocket-Accept: Mongrel2 has made it of the key. */
  readonly accept: string
  /** The subprotocols that it offers, in its order. */
  readonly protocols: readonly string[]
  /** The extensions that it offers, with their parameters. */
  readonly extensions: readonly string[]
  readonly origin: string | undefined
}

/** Why a handshake is refused. */
export interface HandshakeRefusal {
  readonly status: number
  readonly reason: string
  readonly headers?: Record<string, string>
}

const VERSION = '13'
/** What a client is told that speaks another version, or none (RFC 6455, section 4.2.2). */
export const VERSION_FIELD = { 'sec-websocket-version': VERSION }
/** 16 bytes in base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/
/** A token (RFC 9110, section 5.6.2). */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/**
 * Reads a handshake. Mongrel2 takes for one what has a key, a version, `websocket` to upgrade to and `upgrade` anywhere among the
 * connection's options; what it does not check is checked here. Its method is not told: Mongrel2 says nothing but that it is a handshake.
 */
export function readHandshake({ headers, body }: Message): HandshakeRequest | HandshakeRefusal {
  if (headers.own('VERSION') !== 'HTTP/1.1') return bad('A handshake needs HTTP/1.1')
  if (!headers.all('connection').flatMap(listItems).includes('upgrade')) return bad('Connection does not say Upgrade')
  if (headers.all('upgrade').length > 1) return bad('Upgrade came twice')
  if (headers.first('transfer-encoding') !== undefined || Number(headers.first('content-length') ?? 0) !== 0) {
    return bad('A handshake has no body')
  }
  const versions = headers.all('sec-websocket-version')
  if (versions.length !== 1 || versions[0] !== VERSION) {
    return { status: 426, reason: `The version of WebSocket is ${VERSION}`, headers: VERSION_FIELD }
  }
  const keys = headers.all('sec-websocket-key')
  if (keys.length !== 1 || !KEY.test(keys[0] ?? '')) return bad('Sec-WebSocket-Key is no key')
  const protocols = headers.all('sec-websocket-protocol').flatMap(items)
  if (!protocols.every((protocol) => TOKEN.test(protocol)) || new Set(protocols).size < protocols.length) {
    return bad('Sec-WebSocket-Protocol is no list of tokens')
  }
  const origins = headers.all('origin')
  if (origins.length > 1) return bad('Origin came twice')
  return {
    accept: body.toString('latin1'),
    protocols,
    extensions: headers.all('sec-websocket-extensions').flatMap(items),
    origin: origins[0],
  }
}

function bad(reason: string): HandshakeRefusal {
  return { status: 400, reason }
}

/** The items of a list, as they are written. */
function items(value: string): string[] {
  return value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
