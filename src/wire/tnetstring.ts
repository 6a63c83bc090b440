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
/** So many digits are an integer below 2^53. */
const EXACT_DIGITS = 15

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
  const end = netstringEnd(bytes, 0, bytes.length)
  if (end + 1 !== bytes.length) throw new MalformedError(`${bytes.length - end - 1} bytes follow the value`)
  return valueIn(bytes, payloadStart, end, 0)
}

/** The value of the payload between `start` and `end`, which is the position of its type. */
function valueIn(bytes: Buffer, start: number, end: number, depth: number): Tnetstring {
  if (depth > MAX_DEPTH) throw new MalformedError(`values nest deeper than ${MAX_DEPTH} levels`)
  switch (bytes[end]) {
    case 0x2c: // ,
      return bytes.toString('latin1', start, end)
    case 0x23: // #
      return numberIn(bytes, start, end)
    case 0x5e: // ^
      return Number(textIn(bytes, start, end, /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i, 'a number'))
    case 0x21: // !
      return textIn(bytes, start, end, /^(true|false)$/, 'true or false') === 'true'
    case 0x7e: // ~
      if (end !== start) throw new MalformedError('a null has a payload')
      return null
    case 0x5d: // ]
      return listIn(bytes, start, end, depth)
    case 0x7d: // }
      return dictionaryIn(bytes, start, end, depth)
    default:
      throw new MalformedError(
        `unknown type ${JSON.stringify(String.fromCharCode(bytes[end] as number))} at byte ${end}`,
      )
  }
}

function textIn(bytes: Buffer, start: number, end: number, form: RegExp, expected: string): string {
  const text = bytes.toString('latin1', start, end)
  if (!form.test(text)) throw malformed(expected, text)
  return text
}

/** A whole number. The control port sends eight for each connection, a thousand times a second: a text for each would cost most. */
function numberIn(bytes: Buffer, start: number, end: number): number {
  let value = 0
  let at = start
  for (; at < end; at++) {
    const digit = (bytes[at] as number) - ZERO
    if (digit < 0 || digit > 9) break
    value = value * 10 + digit
  }
  if (at === end && at > start && at - start <= EXACT_DIGITS) return value
  return Number(textIn(bytes, start, end, /^-?\d+$/, 'a number'))
}

function listIn(bytes: Buffer, start: number, end: number, depth: number): Tnetstring[] {
  const list: Tnetstring[] = []
  for (let at = start; at < end; ) {
    const itemEnd = netstringEnd(bytes, at, end)
    list.push(valueIn(bytes, payloadStart, itemEnd, depth + 1))
    at = itemEnd + 1
  }
  return list
}

function dictionaryIn(bytes: Buffer, start: number, end: number, depth: number): Map<string, Tnetstring> {
  const dictionary = new Map<string, Tnetstring>()
  for (let at = start; at < end; ) {
    const keyEnd = netstringEnd(bytes, at, end)
    if (bytes[keyEnd] !== 0x2c) throw new MalformedError(`a dictionary's key at byte ${at} is no string`)
    const key = bytes.toString('latin1', payloadStart, keyEnd)
    const valueEnd = netstringEnd(bytes, keyEnd + 1, end)
    dictionary.set(key, valueIn(bytes, payloadStart, valueEnd, depth + 1))
    at = valueEnd + 1
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
