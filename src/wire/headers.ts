import { MalformedError } from './malformed.ts'

/** A header field's name and value. */
export type HeaderField = readonly [name: string, value: string]

const ZERO = 48
/** What `:` is above `0`. */
const COLON_DIGIT = 10
const COMMA = 0x2c
const COLON = 0x3a
const QUOTE = 0x22
const BACKSLASH = 0x5c
const BRACE = 0x7b
const BRACE_END = 0x7d
const BRACKET = 0x5b
const LIST_END = 0x5d
/** Digits that a length may have: a header block is far below 10^6 bytes. */
const MAX_LENGTH_DIGITS = 9

/**
 * A message's headers, one text for each name and each value, bytes as Latin-1. Mongrel2 lower-cases the names that clients
 * send, so a name that begins with a capital letter is its own word.
 *
 * They are read in one pass and looked up by going through them: there are few, and most are never asked for. That and the plain
 * loop of `readTnetstring` are paid by `parse, 20 headers` of the micro-benchmarks.
 */
export class MessageHeaders {
  /** Mongrel2's words: name, value, name, value. */
  readonly #own: string[] = []
  /** The client's words, a name for each value. */
  readonly #fields: string[] = []

  /**
   * Reads a tnetstring dictionary.
   *
   * @param text Bytes as Latin-1, of which the dictionary's payload lies from `start` to `end`.
   * @throws MalformedError when it is none, or has a value that is neither a string nor a list of strings.
   */
  static fromTnetstring(text: string, start: number, end: number): MessageHeaders {
    const headers = new MessageHeaders()
    let at = start
    while (at < end) {
      const nameEnd = stringEnd(text, at, end)
      const name = text.slice(payloadStart, nameEnd)
      if (text.charCodeAt(nameEnd) !== COMMA) throw new MalformedError(`a header's name at ${at} is no string`)
      const valueEnd = stringEnd(text, nameEnd + 1, end)
      const valueStart = payloadStart
      const type = text.charCodeAt(valueEnd)
      if (type === COMMA) headers.#add(name, text.slice(valueStart, valueEnd))
      else if (type === LIST_END && !isOwn(name)) headers.#addList(name, text, valueStart, valueEnd)
      else throw noString(name)
      at = valueEnd + 1
    }
    return headers
  }

  /**
   * Reads a JSON object.
   *
   * @throws MalformedError when it is none, or has a value that is neither a string nor a list of strings.
   */
  static fromJson(text: string): MessageHeaders {
    const headers = new MessageHeaders()
    if (headers.#addPlainJson(text)) return headers
    headers.#own.length = 0
    headers.#fields.length = 0
    const object = jsonObject(text)
    for (const name in object) {
      const value = object[name]
      if (typeof value === 'string') headers.#add(name, value)
      else if (Array.isArray(value) && !isOwn(name)) for (const item of value) headers.#add(name, oneString(name, item))
      else throw noString(name)
    }
    return headers
  }

  /** Mongrel2's word under a name in upper case. */
  own(name: string): string | undefined {
    const own = this.#own
    for (let at = 0; at < own.length; at += 2) if (own[at] === name) return own[at + 1]
    return undefined
  }

  /** All that Mongrel2 says. */
  ownEntries(): Record<string, string> {
    const entries: Record<string, string> = {}
    for (let at = 0; at < this.#own.length; at += 2) entries[this.#own[at] as string] = this.#own[at + 1] as string
    return entries
  }

  /** The client's first value under a name in lower case. */
  first(name: string): string | undefined {
    const fields = this.#fields
    for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1]
    return undefined
  }

  /** The client's values under a name in lower case, in their order. */
  all(name: string): string[] {
    const fields = this.#fields
    const values: string[] = []
    for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) values.push(fields[at + 1] as string)
    return values
  }

  /** Goes through all that the client says, in no order but that of a name's values. */
  forEach(visit: (name: string, value: string) => void): void {
    const fields = this.#fields
    for (let at = 0; at < fields.length; at += 2) visit(fields[at] as string, fields[at + 1] as string)
  }

  #add(name: string, value: string): void {
    if (isOwn(name)) this.#own.push(name, value)
    else this.#fields.push(name, value)
  }

  /**
   * Adds what is written the way Mongrel2 writes it: no blanks, no escapes but of `"` and `\`, nothing but strings and lists of them.
   * Three times as quick as `JSON.parse`, and the raw tab that this refuses is no matter here.
   *
   * @returns Whether it was all written so.
   */
  #addPlainJson(text: string): boolean {
    let at = 0
    while (at < text.length - 1) {
      if (text.charCodeAt(at) !== (at === 0 ? BRACE : COMMA) || text.charCodeAt(at + 1) !== QUOTE) return false
      const nameEnd = quoteAfter(text, at + 2)
      if (nameEnd === -1 || text.charCodeAt(nameEnd + 1) !== COLON) return false
      const name = unescaped(text, at + 2, nameEnd)
      if (name === undefined) return false
      at = nameEnd + 2
      const list = text.charCodeAt(at) === BRACKET && !isOwn(name)
      if (list) at++
      for (;;) {
        if (text.charCodeAt(at) !== QUOTE) return false
        const end = quoteAfter(text, at + 1)
        const value = end === -1 ? undefined : unescaped(text, at + 1, end)
        if (value === undefined) return false
        this.#add(name, value)
        at = end + 1
        if (!list) break
        if (text.charCodeAt(at) === LIST_END) {
          at++
          break
        }
        if (text.charCodeAt(at++) !== COMMA) return false
      }
    }
    return at > 0 && at === text.length - 1 && text.charCodeAt(at) === BRACE_END
  }

  #addList(name: string, text: string, start: number, end: number): void {
    for (let at = start; at < end; ) {
      const itemEnd = stringEnd(text, at, end)
      if (text.charCodeAt(itemEnd) !== COMMA) throw noString(name)
      this.#fields.push(name, text.slice(payloadStart, itemEnd))
      at = itemEnd + 1
    }
  }
}

/** Where the payload begins that `stringEnd` has found the end of: two numbers in one answer would have to be allocated. */
let payloadStart = 0

/** Finds where the payload of the netstring at `at` ends, and its type stands. */
function stringEnd(text: string, at: number, limit: number): number {
  let length = 0
  let digits = 0
  let digit = text.charCodeAt(at) - ZERO
  while (digit >= 0 && digit <= 9) {
    length = length * 10 + digit
    digits++
    digit = text.charCodeAt(at + digits) - ZERO
  }
  if (digits === 0 || digits > MAX_LENGTH_DIGITS || digit !== COLON_DIGIT) {
    throw new MalformedError(`expected a netstring's length and ':' at ${at} of the headers`)
  }
  if (digits > 1 && text.charCodeAt(at) === ZERO) throw new MalformedError(`a length has a leading zero at ${at}`)
  payloadStart = at + digits + 1
  const end = payloadStart + length
  if (end >= limit) throw new MalformedError(`a netstring of ${length} bytes at ${at} leaves the headers`)
  return end
}

/** Finds the quotation mark that ends a string of JSON; -1 where there is none. */
function quoteAfter(text: string, start: number): number {
  let quote = text.indexOf('"', start)
  while (quote !== -1 && isEscaped(text, start, quote)) quote = text.indexOf('"', quote + 1)
  return quote
}

/** Whether an odd number of backslashes stands before it. */
function isEscaped(text: string, start: number, at: number): boolean {
  let before = at - 1
  while (before >= start && text.charCodeAt(before) === BACKSLASH) before--
  return (at - before) % 2 === 0
}

/** A string of JSON without its escapes; undefined where there is one that is not Mongrel2's. */
function unescaped(text: string, start: number, end: number): string | undefined {
  const raw = text.slice(start, end)
  if (!raw.includes('\\')) return raw
  return /^(?:[^\\]|\\["\\])*$/.test(raw) ? raw.replace(/\\(.)/gs, '$1') : undefined
}

function isOwn(name: string): boolean {
  const first = name.charCodeAt(0)
  return first >= 65 && first <= 90
}

/** Mongrel2 escapes only `"` and `\` in its JSON: a tab in a header's value comes raw, which JSON forbids. */
function jsonObject(text: string): Record<string, unknown> {
  const value = parseJson(text) ?? parseJson(text.replace(/[\0-\x1f]/g, escapeControl))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MalformedError('expected headers as a JSON object')
  }
  return value as Record<string, unknown>
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function escapeControl(character: string): string {
  return `\\u00${character.charCodeAt(0).toString(16).padStart(2, '0')}`
}

function oneString(name: string, value: unknown): string {
  if (typeof value !== 'string') throw noString(name)
  return value
}

function noString(name: string): MalformedError {
  return new MalformedError(`the header ${JSON.stringify(name.slice(0, 80))} has a value that is no string`)
}
