import { badRequest, type Refusal, upgradeRequired, WEBSOCKET_VERSION } from '../platform/outcomes.ts'
import { listItems, listItemsAsWritten, TOKEN } from '../wire/http.ts'
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

/** 16 bytes in base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/

/** Reads a handshake, and checks what Mongrel2 does not: it looks for a key, a version, `Upgrade: websocket` and `upgrade` in Connection. */
export function readHandshake({ headers, body }: Message): HandshakeRequest | Refusal {
  if (headers.own('VERSION') !== 'HTTP/1.1') return badRequest('A handshake needs HTTP/1.1')
  const options = headers.all('connection').flatMap(listItems)
  if (!options.includes('upgrade')) return badRequest('Connection does not say Upgrade')
  if (headers.all('upgrade').length > 1) return badRequest('Upgrade came twice')
  if (headers.first('transfer-encoding') !== undefined || Number(headers.first('content-length') ?? 0) !== 0) {
    return badRequest('A handshake has no body')
  }
  const versions = headers.all('sec-websocket-version')
  if (versions.length !== 1 || versions[0] !== WEBSOCKET_VERSION) {
    return upgradeRequired(`The version of WebSocket is ${WEBSOCKET_VERSION}`)
  }
  const keys = headers.all('sec-websocket-key')
  if (keys.length !== 1 || !KEY.test(keys[0] ?? '')) return badRequest('Sec-WebSocket-Key is no key')
  const protocols = headers.all('sec-websocket-protocol').flatMap(listItemsAsWritten)
  if (!protocols.every((protocol) => TOKEN.test(protocol)) || new Set(protocols).size < protocols.length) {
    return badRequest('Sec-WebSocket-Protocol is no list of tokens')
  }
  const origins = headers.all('origin')
  if (origins.length > 1) return badRequest('Origin came twice')
  return {
    accept: body.toString('latin1'),
    protocols,
    extensions: headers.all('sec-websocket-extensions').flatMap(listItemsAsWritten),
    origin: origins[0],
  }
}
