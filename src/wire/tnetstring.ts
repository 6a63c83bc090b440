import { MalformedError, malformed } from './malformed.ts'

/** A tagged netstring's value (https://tnetstrings.info). Strings are bytes as Latin-1; dictionaries are Maps, safe for any key. */
export type Tnetstring = string | number | boolean | null | Tnetstring[] | Map<string, Tnetstring>

/** Levels of nesting, a bound that protects the stack. Mongrel2's messages nest twice. */
const MAX_DEPTH = 16

const ZERO = 48
/** The difference of `:` and `0`. */
const COLON_DIGIT = 10
/** Digits that a length may have: 9 keep it below 2^30, more than one ZeroMQ frame from Mongrel2 ever holds. */
const MAX_LENGTH_DIGITS = 9

/** The position of a netstring's payload, and its type. */
export interface Span {
  readonly start: number
  readonly end: number
  /** The type's character code: 44 is `,` (a string), 125 is `}` (a dictionary). */
  readonly type: number
}

/** The second result of `netstringEnd`, the start of the payload: returning two numbers would allocate. */
export let payloadStart = 0

/**
 * Returns the end of the payload of the netstring at `offset`, which is the position of its type; the next begins behind it. Throws
 * MalformedError for a length that is wrong or goes beyond `limit`.
 */
export function netstringEnd(bytes: Uint8Array, offset: number, limit: number): number {
  let length = 0
  let colon = offset
  let digit = (bytes[colon] as number) - ZERO
  while (digit >= 0 && digit <= 9) {
    length = length * 10 + digit
    digit = (bytes[++colon] as number) - ZERO
  }
  const digits = colon - offset
  const end = colon + 1 + length
  if (digits === 0 || digits > MAX_LENGTH_DIGITS || digit !== COLON_DIGIT || end >= limit) {
    if (digits > MAX_LENGTH_DIGITS)
      throw new MalformedError(`a netstring's length has more than ${MAX_LENGTH_DIGITS} digits`)
    if (digits === 0 || digit !== COLON_DIGIT)
      throw new MalformedError(`expected a netstring's length and ':' at byte ${offset}`)
    throw new MalformedError(`a netstring of ${length} bytes does not fit into the ${limit - colon - 1} that are left`)
  }
  if (bytes[offset] === ZERO && digits > 1)
    throw new MalformedError(`a netstring's length has a leading zero at byte ${offset}`)
  payloadStart = colon + 1
  return end
}

/** The netstring at `offset`; throws as `netstringEnd` does. */
export function spanAt(bytes: Buffer, offset: number, limit: number): Span {
  const end = netstringEnd(bytes, offset, limit)
  return { start: payloadStart, end, type: bytes[end] as number }
}

/** Parses the one value that fills the bytes; throws MalformedError for other bytes, or nesting deeper than 16 levels. */
export function parseTnetstring(bytes: Buffer): Tnetstring {
  const span = spanAt(bytes, 0, bytes.length)
  if (span.end + 1 !== bytes.length) {
    throw new MalformedError(`${bytes.length - span.end - 1} bytes follow the value`)
  }
  return parseSpan(bytes, span, 0)
}

function parseSpan(bytes: Buffer, span: Span, depth: number): Tnetstring {
  if (depth > MAX_DEPTH) throw new MalformedError(`values nest deeper than ${MAX_DEPTH} levels`)
  switch (span.type) {
    case 0x2c: // ,
      return bytes.toString('latin1', span.start, span.end)
    case 0x23: // #
      return Number(textIn(bytes, span, /^-?\d+$/, 'a number'))
    case 0x5e: // ^
      return Number(textIn(bytes, span, /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i, 'a number'))
    case 0x21: // !
      return textIn(bytes, span, /^(true|false)$/, 'true or false') === 'true'
    case 0x7e: // ~
      if (span.end !== span.start) throw new MalformedError('a null has a payload')
      return null
    case 0x5d: // ]
      return listIn(bytes, span, depth)
    case 0x7d: // }
      return dictionaryIn(bytes, span, depth)
    default:
      throw new MalformedError(`unknown type ${JSON.stringify(String.fromCharCode(span.type))} at byte ${span.end}`)
  }
}

function textIn(bytes: Buffer, { start, end }: Span, form: RegExp, expected: string): string {
  const text = bytes.toString('latin1', start, end)
  if (!form.test(text)) throw malformed(expected, text)
  return text
}

function listIn(bytes: Buffer, span: Span, depth: number): Tnetstring[] {
  const list: Tnetstring[] = []
  for (let at = span.start; at < span.end; ) {
    const item = spanAt(bytes, at, span.end)
    list.push(parseSpan(bytes, item, depth + 1))
    at = item.end + 1
  }
  return list
}

function dictionaryIn(bytes: Buffer, span: Span, depth: number): Map<string, Tnetstring> {
  const dictionary = new Map<string, Tnetstring>()
  for (let at = span.start; at < span.end; ) {
    const key = spanAt(bytes, at, span.end)
    if (key.type !== 0x2c) throw new MalformedError(`a dictionary's key at byte ${at} is no string`)
    const value = spanAt(bytes, key.end + 1, span.end)
    dictionary.set(bytes.toString('latin1', key.start, key.end), parseSpan(bytes, value, depth + 1))
    at = value.end + 1
  }
  return dictionary
}

/** Renders a value. Throws RangeError for a number other than a safe integer: Mongrel2 crashes on a float in a reply. */
export function renderTnetstring(value: Tnetstring): Buffer {
  return Buffer.from(render(value), 'latin1')
}

function render(value: Tnetstring): string {
  if (value === null) return '0:~'
  if (typeof value === 'string') return tagged(value, ',')
  if (typeof value === 'boolean') return tagged(String(value), '!')
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new RangeError(`expected an integer below 2^53, got ${value}`)
    return tagged(String(value), '#')
  }
  if (Array.isArray(value)) return tagged(value.map(render).join(''), ']')
  let pairs = ''
  for (const [key, item] of value) pairs += tagged(key, ',') + render(item)
  return tagged(pairs, '}')
}

function tagged(payload: string, type: string): string {
  return `${payload.length}:${payload}${type}`
}
