import { FLOW_CONTROL_WINDOW } from '../wire/limits.ts'
import { MalformedError } from '../wire/malformed.ts'
import { SINGLE_REQUEST } from '../wire/message.ts'
import type { GatewaySettings } from './options.ts'
import type { GatewayRequest } from './request.ts'

/** The headers of a message, by name; a name that came more than once has a list. */
export type Fields = Map<string, string | string[]>

/** A request's target, split as Mongrel2 splits it. */
export interface Target {
  readonly path: string
  /** Without the fragment; for an absolute target, the part after the scheme. */
  readonly uri: string
  readonly query: string | undefined
  readonly fragment: string | undefined
}

const TARGET = /^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(([^?#]*)(?:\?([^#]*))?)(?:#(.*))?$/
/** Bytes that are invalid in a URL, but that clients send. A browser encodes them. */
const NOT_ASCII = /[^\x21-\x7e]/g

/** Splits a request's target. */
export function splitTarget(target: string): Target {
  const [, uri = '', path = '', query, fragment] = TARGET.exec(target.replace(NOT_ASCII, percentEncoded)) ?? []
  return { path, uri, query, fragment }
}

/**
 * The headers that Mongrel2 would send with a request, and `SINGLE_REQUEST`. The `Connection` fields of request and answer decide whether
 * the client's connection stays open. Throws MalformedError for a field without a name.
 */
export function messageFields(
  request: GatewayRequest,
  target: Target,
  pattern: string,
  settings: Pick<GatewaySettings, 'flowControl' | 'noClobberXff'>,
): Fields {
  const fields: Fields = new Map()
  for (let at = 0; at < request.fields.length; at += 2) {
    add(fields, (request.fields[at] as string).toLowerCase(), request.fields[at + 1] as string)
  }
  if (!settings.noClobberXff) fields.set('x-forwarded-for', request.remoteAddress)
  if (settings.flowControl) fields.set('DOWNLOAD_CREDITS', String(FLOW_CONTROL_WINDOW))
  fields.set('PATH', target.path)
  fields.set('METHOD', request.webSocket === undefined ? request.method : 'WEBSOCKET_HANDSHAKE')
  fields.set('VERSION', request.version)
  fields.set('URI', target.uri)
  if (target.query !== undefined) fields.set('QUERY', target.query)
  if (target.fragment !== undefined) fields.set('FRAGMENT', target.fragment)
  fields.set('PATTERN', pattern)
  fields.set('URL_SCHEME', request.scheme)
  fields.set('REMOTE_ADDR', request.remoteAddress)
  if (request.webSocket === undefined) fields.set(SINGLE_REQUEST, '1')
  return fields
}

function add(fields: Fields, name: string, value: string): void {
  // Node before 20.20 accepts such a field, and no handler can read the message.
  if (name === '') throw new MalformedError('a field has no name')
  const known = fields.get(name)
  if (known === undefined) fields.set(name, value)
  else if (typeof known === 'string') fields.set(name, [known, value])
  else known.push(value)
}

function percentEncoded(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
}
