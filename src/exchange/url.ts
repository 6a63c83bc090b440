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

function normalOrigin(scheme: string, authority: string): string {
  const key = `${scheme}://${authority}`
  const known = origins.get(key)
  if (known !== undefined) return known
  const { origin } = new URL(`${key}/`)
  if (origins.size >= MOST_ORIGINS) origins.clear()
  origins.set(key, origin)
  return origin
}
