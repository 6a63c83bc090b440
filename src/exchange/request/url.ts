import { isAuthority } from './origin.ts'

/** Origins that are kept in their normal form: those of the hosts that are asked for. */
const MOST_ORIGINS = 256
const origins = new Map<string, string>()

/**
 * Targets that the platform's URL parser leaves as they are: no dot segments, nothing that it would escape or cut off (URL standard,
 * path state and query state).
 */
const PLAIN_TARGET = /^\/(?!\.)(?:[\w~!$&()*+,;=:@?-]|\.|\/(?!\.)|%(?!2[eE]))*$/

/**
 * Makes a request's URL as the platform writes it: the target goes behind the authority as it is, so that `//evil.example/x`
 * stays a path, without its fragment.
 *
 * @param authority `host[:port]`.
 * @throws TypeError when it is no URL.
 */
export function urlOf(scheme: string, authority: string, target: string): string {
  if (PLAIN_TARGET.test(target)) return normalOrigin(scheme, authority) + target
  const fragment = target.indexOf('#')
  return new URL(`${scheme}://${authority}${fragment === -1 ? target : target.slice(0, fragment)}`).href
}

/**
 * Finds the target in origin form. Of one in absolute form (RFC 9112, section 3.2.2) Mongrel2 leaves `//authority/path`, which is what
 * a path with two slashes looks like too: it is taken for absolute only if its authority is the one that the Host names.
 *
 * @param target As Mongrel2 gives it in URI.
 * @param authority The Host's `host[:port]`.
 */
export function originForm(scheme: string, authority: string, target: string): string {
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
