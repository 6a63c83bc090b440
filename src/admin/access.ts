import { createHash, timingSafeEqual } from 'node:crypto'
import { isLocalHost } from '../runtime/local-host.ts'

/** Who may do what. */
export interface AccessSettings {
  readonly token: string | undefined
  /** Whether actions need no token. */
  readonly trusted: boolean
  /** Whether only names and addresses of this machine are answered for. */
  readonly localHosts?: boolean
}

/** What a route needs: `open` nothing, `read` the token if there is one, `act` the token or trust. */
export type Need = 'open' | 'read' | 'act'

/** The answer to a request that is refused; undefined if it may go on. */
export function refusalOf(request: Request, need: Need, settings: AccessSettings): Response | undefined {
  const { token, trusted, localHosts = false } = settings
  const { host, hostname } = new URL(request.url)
  // Another name may resolve to this machine, too, and its page would be of the same origin (DNS rebinding).
  if (localHosts && !isLocalHost(hostname)) {
    return refusal(403, `This address does not answer for the host ${hostname}: use localhost or the IP address.`)
  }
  if (isOfOtherSite(request.headers, host)) {
    return refusal(403, 'This address does not answer to pages and links of other sites: type the address.')
  }
  if (need === 'open') return undefined
  if (token === undefined) {
    return need === 'read' || trusted
      ? undefined
      : refusal(403, 'Actions need a token: give the server one, or a path as its admin address.')
  }
  if (hasToken(request.headers, token)) return undefined
  // Browsers then ask for a name, which is ignored, and a password, the token.
  return refusal(401, 'The token is missing or wrong: Authorization: Bearer TOKEN, or the token as password.', {
    'www-authenticate': 'Basic realm="mongrel2-fetch", charset="UTF-8"',
  })
}

/** Whether a browser sent it for a page or link of another site. Other programs have no reason to send these fields. */
function isOfOtherSite(headers: Headers, host: string): boolean {
  const site = headers.get('sec-fetch-site')
  if (site !== null && site !== 'same-origin' && site !== 'none') return true
  const origin = headers.get('origin')
  return origin !== null && !(URL.canParse(origin) && new URL(origin).host === host)
}

function hasToken(headers: Headers, token: string): boolean {
  const [, scheme = '', credentials = ''] = /^(bearer|basic) +(\S+)$/i.exec(headers.get('authorization') ?? '') ?? []
  if (scheme === '') return false
  const given = scheme.toLowerCase() === 'bearer' ? credentials : passwordIn(credentials)
  return timingSafeEqual(digest(given), digest(token))
}

function passwordIn(credentials: string): string {
  const text = Buffer.from(credentials, 'base64').toString()
  return text.slice(text.indexOf(':') + 1)
}

/** Digests have the same length, and comparing them tells nothing about the token. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function refusal(status: number, reason: string, headers: Record<string, string> = {}): Response {
  return new Response(`${reason}\n`, { status, headers })
}
