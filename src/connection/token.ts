import { Mongrel2Error } from '../runtime/errors.ts'
import { TOKEN } from '../wire/http.ts'

/** What a token is for. */
export type TokenKind = 'request' | 'websocket' | 'messages'

/** The Mongrel2, and its epoch, that a connection belongs to. */
export interface TokenPlace {
  /** The Handler's `recv_spec`. */
  readonly recvSpec: string
  /** The name of the epoch for others on the same machine (`socketIdOf`). */
  readonly socketId: string | undefined
}

/** The content of a token: which client to answer, and how. */
export interface Token extends TokenPlace {
  readonly kind: TokenKind
  readonly sender: string
  readonly id: number
  /** When it was made, in milliseconds of `Date.now()`. */
  readonly madeAt: number
  /** When it expires, in milliseconds of `Date.now()`; 0 is never. */
  readonly deadline: number
  /** The method of the request, and whether its client speaks HTTP/1.0. */
  readonly method: string
  readonly http10: boolean
  /** Whether Mongrel2 runs with `download.flow_control`. */
  readonly flowControl: boolean
}

const VERSION = 'm1.'
const FORM = /^m1\.[A-Za-z0-9_-]{1,2000}$/
const KINDS: readonly TokenKind[] = ['request', 'websocket', 'messages']
/** Mongrel2 reads no other characters in a reply. */
const SENDER = /^[A-Za-z0-9-]+$/
/** Mongrel2 counts connections in a C `int`. */
const MOST_ID = 2_147_483_647

/** Renders a token as a string. */
export function renderToken(token: Token): string {
  const { kind, recvSpec, socketId, sender, id, madeAt, deadline, method, http10, flowControl } = token
  const values = [kind, recvSpec, socketId ?? '', sender, id, madeAt, deadline, method, http10, flowControl]
  return VERSION + Buffer.from(JSON.stringify(values)).toString('base64url')
}

/** Reads a token; throws Mongrel2Error `invalid_token` when `renderToken` cannot have made it. */
export function parseToken(text: unknown): Token {
  const token = typeof text === 'string' && FORM.test(text) ? read(text.slice(VERSION.length)) : undefined
  // Another spelling of the same values is refused.
  if (token === undefined || renderToken(token) !== text) {
    throw new Mongrel2Error('invalid_token', 'expected an unchanged token of this version of mongrel2-fetch')
  }
  return token
}

/** Reads the values of a token; undefined where one of them is wrong. */
function read(encoded: string): Token | undefined {
  const values = listIn(Buffer.from(encoded, 'base64url').toString())
  const [kindText, recvSpec, socketId, sender, id, madeAt, deadline, method, http10, flowControl, ...more] = values
  const kind = KINDS.find((known) => known === kindText)
  if (kind === undefined || more.length > 0) return undefined
  if (typeof recvSpec !== 'string' || typeof socketId !== 'string') return undefined
  if (typeof sender !== 'string' || !SENDER.test(sender)) return undefined
  if (typeof method !== 'string' || !(method === '' || TOKEN.test(method))) return undefined
  if (!isInteger(id, MOST_ID) || !isInteger(madeAt) || !isInteger(deadline)) return undefined
  if (typeof http10 !== 'boolean' || typeof flowControl !== 'boolean') return undefined
  const place = { recvSpec, socketId: socketId === '' ? undefined : socketId }
  return { kind, ...place, sender, id, madeAt, deadline, method, http10, flowControl }
}

function listIn(json: string): unknown[] {
  try {
    const value: unknown = JSON.parse(json)
    return Array.isArray(value) ? value : []
  } catch {
    return []
  }
}

function isInteger(value: unknown, most = Number.MAX_SAFE_INTEGER): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most
}
