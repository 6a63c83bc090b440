import { listItems } from '../../wire/http.ts'
import { MOST_FIELD_VALUES } from '../../wire/limits.ts'
import type { Message } from '../../wire/message.ts'

/** The trusted proxies in front: none, a number of them counted from Mongrel2 outwards, or all. */
export type TrustProxy = boolean | number

/** The client, and the origin in the URL, of a request. */
export interface Origin {
  readonly remoteAddress: string
  readonly scheme: string
  /** `host[:port]`, valid for a URL. */
  readonly authority: string
}

/** A host and an optional port (RFC 9110, section 7.2): no user information, nothing that begins a path, query or fragment. */
const HOST_AND_PORT = String.raw`(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?`
const AUTHORITY = new RegExp(`^${HOST_AND_PORT}$`)
/** Spaces and tabs around a value are allowed. A proxy in front reads other white space as part of the host. */
const HOST_VALUE = new RegExp(`^[ \\t]*(${HOST_AND_PORT})[ \\t]*$`)

const FORWARDED = ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host']

/** Number of origins whose normalised form is cached. */
const MOST_ORIGINS = 256
const origins = new Map<string, string>()

/** Targets that the URL parser does not change: no dot segments, nothing that it escapes or cuts off (URL standard, path and query state). */
const PLAIN_TARGET = /^\/(?!\.)(?:[\w~!$&()*+,;=:@?-]|\.|\/(?!\.)|%(?!2[eE]))*$/

/** Whether a text is `host[:port]` and valid in a URL. */
export function isAuthority(text: string): boolean {
  return AUTHORITY.test(text) && URL.canParse(`http://${text}/`)
}

/** Finds the origin of a request, or a sentence that says what is wrong. `host` is the authority where HTTP/1.0 names none. */
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
  return trustProxy ? forwarded(message, direct, trustProxy) : direct
}

/** The origin as the outermost trusted proxy saw it. Each proxy appends to the lists; the client may have written the items further left. */
function forwarded(message: Message, direct: Origin, trustProxy: true | number): Origin | string {
  // Mongrel2 may have dropped a proxy's line after too many lines of the client.
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

/**
 * Makes a request's URL, normalised as the platform does it: the target without its fragment follows the authority, so that `//evil.example/x`
 * stays a path. Undefined when origin and target make no URL.
 *
 * @param uri Mongrel2's header URI.
 */
export function urlOf(origin: Omit<Origin, 'remoteAddress'>, uri: string, trustProxy: TrustProxy): string | undefined {
  const { scheme, authority } = origin
  try {
    // A proxy has to send the origin form (RFC 9112, section 3.2.1), and may have checked the path in that form.
    const target = trustProxy ? uri : originForm(scheme, authority, uri)
    if (PLAIN_TARGET.test(target)) return normalOrigin(scheme, authority) + target
    const fragment = target.indexOf('#')
    return new URL(`${scheme}://${authority}${fragment === -1 ? target : target.slice(0, fragment)}`).href
  } catch {
    return undefined
  }
}

/**
 * The target in origin form. Mongrel2 reduces the absolute form (RFC 9112, section 3.2.2) to `//authority/path`, which may also be a path: it is
 * absolute only if its authority is that of Host.
 */
function originForm(scheme: string, authority: string, target: string): string {
  if (!target.startsWith('//')) return target
  const end = target.slice(2).search(/[/?]|$/) + 2
  const named = target.slice(2, end)
  if (!isAuthority(named) || normalOrigin(scheme, named) !== normalOrigin(scheme, authority)) return target
  return target[end] === '/' ? target.slice(end) : `/${target.slice(end)}`
}

function normalOrigin(scheme: string, authority: string): string {
  const key = `${scheme}://${authority}`
  const known = origins.get(key)
  if (known !== undefined) return known
  const { origin } = new URL(`${key}/`)
  if (origins.size >= MOST_ORIGINS) origins.clear()
  origins.set(key, origin)
  return origin
}
