import { FLOW_CONTROL_WINDOW } from '../wire/limits.ts'
import { MalformedError } from '../wire/malformed.ts'
import { SINGLE_REQUEST } from '../wire/message.ts'
import type { GatewaySettings } from './options.ts'
import type { GatewayRequest } from './request.ts'

/** A request's target, split as Mongrel2 splits it. */
export interface Target {
  readonly path: string
  /** Without the fragment; for an absolute target, the part after the scheme. */
  readonly uri: string
  readonly query: string | undefined
  readonly fragment: string | undefined
}

const FORWARDED = 'x-forwarded-for'
/** A target without a query. */
const PLAIN_PATH = /^\/[!-"$->@-~]*$/
const TARGET = /^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(([^?#]*)(?:\?([^#]*))?)(?:#(.*))?$/
/** Bytes that are invalid in a URL, but that clients send. A browser encodes them. */
const NOT_ASCII = /[^\x21-\x7e]/g

/** Splits a request's target. */
export function splitTarget(target: string): Target {
  if (PLAIN_PATH.test(target)) return { path: target, uri: target, query: undefined, fragment: undefined }
  const [, uri = '', path = '', query, fragment] = TARGET.exec(target.replace(NOT_ASCII, percentEncoded)) ?? []
  return { path, uri, query, fragment }
}

/**
 * The headers that Mongrel2 would send with a request, and `SINGLE_REQUEST`: names and values in turn, without METHOD. The `Connection` fields
 * of request and answer decide whether the client's connection stays open. Throws MalformedError for a field without a name.
 */
export function messageFields(
  request: GatewayRequest,
  target: Target,
  pattern: string,
  settings: Pick<GatewaySettings, 'flowControl' | 'noClobberXff'>,
): string[] {
  const fields: string[] = []
  for (let at = 0; at < request.fields.length; at += 2) {
    const name = (request.fields[at] as string).toLowerCase()
    // Node before 20.20 accepts such a field, and no handler can read the message.
    if (name === '') throw new MalformedError('a field has no name')
    if (name !== FORWARDED || settings.noClobberXff) fields.push(name, request.fields[at + 1] as string)
  }
  if (!settings.noClobberXff) fields.push(FORWARDED, request.remoteAddress)
  if (settings.flowControl) fields.push('DOWNLOAD_CREDITS', String(FLOW_CONTROL_WINDOW))
  fields.push('PATH', target.path, 'VERSION', request.version, 'URI', target.uri)
  if (target.query !== undefined) fields.push('QUERY', target.query)
  if (target.fragment !== undefined) fields.push('FRAGMENT', target.fragment)
  fields.push('PATTERN', pattern, 'URL_SCHEME', request.scheme, 'REMOTE_ADDR', request.remoteAddress)
  if (request.webSocket === undefined) fields.push(SINGLE_REQUEST, '1')
  return fields
}

function percentEncoded(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
}
