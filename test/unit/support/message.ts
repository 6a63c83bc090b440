import { renderTnetstring, type Tnetstring } from '../../../src/wire/tnetstring.ts'

/** The header protocols of a Mongrel2 Handler. */
export const PROTOCOLS = ['json', 'tnetstring'] as const
export type Protocol = (typeof PROTOCOLS)[number]

/** Headers as Mongrel2 keeps them: a name that came more than once has a list. Values are bytes as Latin-1. */
export type MessageHeaders = Readonly<Record<string, string | readonly string[]>>

/** A message's parts; what is left out has a plain value. */
export interface MessageParts {
  readonly sender?: string
  readonly connectionId?: number | string
  readonly path?: string
  readonly headers?: MessageHeaders
  readonly body?: string | Uint8Array
  readonly protocol?: Protocol
}

export const SENDER = '34f9ceee-cd52-4b7f-b197-88bf2f0ec378'

/** Renders a message as Mongrel2 1.12 does, with `\` and `"` alone escaped in its JSON. */
export function renderMessage(parts: MessageParts): Buffer {
  const { sender = SENDER, connectionId = 1, path = '/', headers = {}, body = '', protocol = 'json' } = parts
  return Buffer.concat([
    Buffer.from(`${sender} ${connectionId} ${path} `, 'latin1'),
    protocol === 'json' ? netstring(renderJson(headers)) : renderDictionary(headers),
    netstring(body),
  ])
}

/** A client's request; `headers` go over the ones that every request has, a value of undefined takes one away. */
export interface RequestParts extends Omit<MessageParts, 'headers'> {
  readonly method?: string
  readonly target?: string
  readonly version?: string
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>
}

/** Renders the message of a request, with the headers that Mongrel2 gives to each. A body brings its Content-Length. */
export function renderRequest(parts: RequestParts = {}): Buffer {
  const { method = 'GET', target = '/', version = 'HTTP/1.1', headers = {}, ...rest } = parts
  const path = target.split('?')[0] ?? '/'
  const body = parts.body ?? ''
  const all: Record<string, string | readonly string[] | undefined> = {
    PATH: path,
    host: 'example.org',
    ...(body.length > 0 ? { 'content-length': String(Buffer.from(body).length) } : {}),
    METHOD: method,
    VERSION: version,
    URI: target,
    PATTERN: '/',
    URL_SCHEME: 'http',
    REMOTE_ADDR: '192.0.2.7',
    ...headers,
  }
  const present = Object.entries(all).filter(
    (entry): entry is [string, string | readonly string[]] => entry[1] !== undefined,
  )
  return renderMessage({ path, ...rest, headers: Object.fromEntries(present) })
}

/** Renders a later part of a streamed upload (`upload.stream`). */
export function renderPart(
  connectionId: number,
  offset: number | string,
  body: string | Uint8Array,
  done = false,
): Buffer {
  const headers = { UPLOAD_STREAM: String(offset), ...(done ? { UPLOAD_STREAM_DONE: '1' } : {}) }
  return renderMessage({ connectionId, headers, body })
}

/** The header fields of a WebSocket's handshake, with the key of RFC 6455, section 1.3. */
export const HANDSHAKE_FIELDS = {
  upgrade: 'websocket',
  connection: 'keep-alive, Upgrade',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
}

/** What Mongrel2 makes of that key. */
export const HANDSHAKE_ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='

/** Renders a WebSocket's handshake. */
export function renderHandshake(parts: RequestParts = {}): Buffer {
  const headers = { ...HANDSHAKE_FIELDS, 'content-length': undefined, ...parts.headers }
  return renderRequest({ method: 'WEBSOCKET_HANDSHAKE', body: HANDSHAKE_ACCEPT, ...parts, headers })
}

/** Renders a frame that a client sent, with the headers of its handshake. */
export function renderFrameMessage(connectionId: number, flags: string, body: string | Uint8Array = ''): Buffer {
  const headers = { ...HANDSHAKE_FIELDS, 'content-length': undefined, FLAGS: flags }
  return renderRequest({ method: 'WEBSOCKET', connectionId, body, headers })
}

/** Renders a disconnect notice. */
export function renderDisconnect(connectionId: number, protocol: Protocol = 'json'): Buffer {
  const headers = { METHOD: 'JSON', PATH: '@*' }
  return renderMessage({ connectionId, path: '@*', headers, body: '{"type":"disconnect"}', protocol })
}

/** Renders a credits notice: so many bytes were written. */
export function renderCredits(connectionId: number, bytes: number | string): Buffer {
  const headers = { METHOD: 'JSON', PATH: '@*', DOWNLOAD_CREDITS: String(bytes) }
  return renderMessage({ connectionId, path: '@*', headers, body: '{"type":"credits"}' })
}

/** Renders a netstring: its length in bytes, the bytes, a comma. */
export function netstring(payload: string | Uint8Array): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload
  return Buffer.concat([Buffer.from(`${bytes.length}:`), bytes, Buffer.from(',')])
}

function renderJson(headers: MessageHeaders): string {
  const pairs = Object.entries(headers).map(([name, value]) => {
    const values = typeof value === 'string' ? jsonString(value) : `[${value.map(jsonString).join(',')}]`
    return `${jsonString(name)}:${values}`
  })
  return `{${pairs.join(',')}}`
}

function jsonString(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

function renderDictionary(headers: MessageHeaders): Buffer {
  const entries = Object.entries(headers).map(([name, value]): [string, Tnetstring] => [
    name,
    typeof value === 'string' ? value : [...value],
  ])
  return renderTnetstring(new Map(entries))
}
