/** What precedes a request's body, as far as Mongrel2 cares. */
export interface RequestHead {
  readonly method: string
  /** The target up to its query, of an absolute one what follows the scheme. */
  readonly path: string
  /** The target without its fragment, of an absolute one what follows the scheme. */
  readonly uri: string
  readonly query: string | undefined
  readonly fragment: string | undefined
  readonly version: string
  /** By names in lower case. */
  readonly fields: ReadonlyMap<string, readonly string[]>
}

/** `MAX_DUPE_HEADERS`: values of one name that Mongrel2 keeps. */
const MAX_DUPE_HEADERS = 5
const CHARACTER = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
const REQUEST_LINE = new RegExp(
  `^([A-Z0-9]{1,20}) (?:[A-Za-z][A-Za-z0-9+.-]*:)?` +
    `((?:${CHARACTER}|/)*)(?:\\?((?:${CHARACTER}|[/?])*))?(?:#((?:${CHARACTER}|[/?])*))? (HTTP/1\\.[01])$`,
)
// No field is folded, and a value ends where its line does, blanks included.
const FIELD = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\0\r\x7f]*)$/
const END = /\r?\n\r?\n/

/** Where a head ends that begins at the first byte, the empty line included; -1 when it does not within so many. */
export function headEnd(bytes: Buffer, limit: number): number {
  const end = END.exec(bytes.toString('latin1', 0, limit))
  return end === null ? -1 : end.index + end[0].length
}

/** Parses a head with its empty line; undefined for one that Mongrel2's grammar has no place for. */
export function parseRequestHead(bytes: Buffer): RequestHead | undefined {
  const [first = '', ...lines] = bytes.toString('latin1').split(/\r?\n/)
  const line = REQUEST_LINE.exec(first)
  if (line === null) return undefined
  const [, method = '', path = '', query, fragment, version = ''] = line
  const fields = new Map<string, string[]>()
  for (const text of lines.slice(0, -2)) {
    const field = FIELD.exec(text)
    if (field === null) return undefined
    const [, name = '', value = ''] = field
    const values = fields.get(name.toLowerCase())
    if (values === undefined) fields.set(name.toLowerCase(), [value])
    else if (values.length < MAX_DUPE_HEADERS) values.push(value)
  }
  const uri = query === undefined ? path : `${path}?${query}`
  return { method, path, uri, query, fragment, version, fields }
}

/**
 * The length of the body that follows: of its first Content-Length as much as C's `strtol` reads, 0 where that is no length;
 * `chunked` without one and with exactly this Transfer-Encoding.
 */
export function bodyLength({ fields }: RequestHead, longest: number): number | 'chunked' {
  const length = fields.get('content-length')?.[0]
  if (length === undefined) return fields.get('transfer-encoding')?.[0] === 'chunked' ? 'chunked' : 0
  const number = Number(/^[ \t-\r]*([+-]?\d+)/.exec(length)?.[1] ?? 0)
  return number >= 0 && number <= longest ? number : 0
}

/** The key of a WebSocket's handshake; undefined for any other request. */
export function webSocketKey({ fields }: RequestHead): string | undefined {
  const first = (name: string) => fields.get(name)?.[0]
  const upgrade = first('upgrade')?.toLowerCase() === 'websocket' && /upgrade/i.test(first('connection') ?? '')
  const complete = upgrade && fields.has('host') && fields.has('sec-websocket-version')
  return complete ? first('sec-websocket-key') : undefined
}
