import { listItems } from '../../connection/request-semantics.ts'
import { MOST_FIELD_VALUES } from '../../wire/limits.ts'
import type { Message } from '../../wire/message.ts'

/** Which proxies in front are believed: none, so many counted from Mongrel2 outwards, or all of them. */
export type TrustProxy = boolean | number

/** Where a request came from and what it was asked of. */
export interface Origin {
  readonly remoteAddress: string
  readonly scheme: string
  /** `host[:port]`, valid for a URL. */
  readonly authority: string
}

/** A host and perhaps a port (RFC 9110, section 7.2), no user information, nothing that begins a path, query or fragment. */
const HOST_AND_PORT = String.raw`(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?`
const AUTHORITY = new RegExp(`^${HOST_AND_PORT}$`)
/** The same as a field's value, of which Mongrel2 leaves the blanks. No others are cut off: to a proxy in front they are part of the host. */
const HOST_VALUE = new RegExp(`^[ \\t]*(${HOST_AND_PORT})[ \\t]*$`)

/** Whether a text is `host[:port]` and a URL can be made with it. */
export function isAuthority(text: string): boolean {
  return AUTHORITY.test(text) && URL.canParse(`http://${text}/`)
}

/**
 * Finds a request's origin.
 *
 * @param host The authority where HTTP/1.0 named none.
 * @returns The origin, or a sentence that says what is wrong.
 */
export function originOf(message: Message, http10: boolean, host: string, trustProxy: TrustProxy): Origin | string {
  const hosts = message.headers.all('host')
  if (hosts.length > 1) return 'Host came twice'
  const [value] = hosts
  if (value === undefined && !http10) return 'Host is missing'
  const own = value === undefined ? undefined : HOST_VALUE.exec(value)?.[1]
  if (value !== undefined && own === undefined) return 'Host is no host and port'

  const scheme = message.headers.own('URL_SCHEME') ?? 'http'
  const remoteAddress = message.headers.own('REMOTE_ADDR') ?? ''
  const direct: Origin = { remoteAddress, scheme, authority: own ?? host }
  return trustsProxy(trustProxy) ? forwarded(message, direct, trustProxy) : direct
}

/** Whether a proxy in front is believed. */
export function trustsProxy(trustProxy: TrustProxy): trustProxy is true | number {
  return trustProxy !== false && trustProxy !== 0
}

const FORWARDED = ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host']

/**
 * What the outermost trusted proxy saw. Each proxy appends to the lists, so they are read from the right: what stands
 * further left than there are trusted proxies was written by the client.
 */
function forwarded(message: Message, direct: Origin, trustProxy: true | number): Origin | string {
  // Mongrel2 may have dropped the line of a proxy behind those of the client.
  const full = FORWARDED.find((name) => message.headers.all(name).length >= MOST_FIELD_VALUES)
  if (full !== undefined) return `${full} came too often`
  const hops = trustProxy === true ? Number.POSITIVE_INFINITY : trustProxy
  const address = fromRight(message, 'x-forwarded-for', hops)
  const scheme = fromRight(message, 'x-forwarded-proto', hops)
  const authority = fromRight(message, 'x-forwarded-host', hops)
  return {
    remoteAddress: address ?? direct.remoteAddress,
    scheme: scheme === 'http' || scheme === 'https' ? scheme : direct.scheme,
    authority: authority !== undefined && isAuthority(authority) ? authority : direct.authority,
  }
}

function fromRight(message: Message, name: string, hops: number): string | undefined {
  const items = message.headers.all(name).flatMap(listItems)
  return items[Math.max(0, items.length - hops)]
}
