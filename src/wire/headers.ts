import { MalformedError } from './malformed.ts'
import { netstringEnd, payloadStart } from './tnetstring.ts'

/** A header field's name and value. */
export type HeaderField = readonly [name: string, value: string]

const COMMA = 0x2c
const COLON = 0x3a
const QUOTE = 0x22
const BACKSLASH = 0x5c
const BRACE = 0x7b
const BRACE_END = 0x7d
const BRACKET = 0x5b
const LIST_END = 0x5d

/** Numbers stored for each value: start and length of its name, start and end of the value. */
const SPAN = 4

/**
 * A message's headers, bytes as Latin-1. Mongrel2 lower-cases the names that clients send, so a name with a capital is Mongrel2's own.
 * One pass finds the positions of names and values; a lookup searches them, since there are few and most are never read. The plain loops
 * are for the micro-benchmark `request, method and URL`.
 */
export class MessageHeaders {
  readonly #text: string
  /** `SPAN` numbers for each value. */
  readonly #spans: readonly number[]
  /** Whether values have `"` and `\` escaped by `\`. */
  readonly #escaped: boolean

  private constructor(text: string, spans: readonly number[], escaped: boolean) {
    this.#text = text
    this.#spans = spans
    this.#escaped = escaped
  }

  /**
   * Reads the tnetstring dictionary from `start` to `end`. `text` is the same as Latin-1: scanning bytes is faster, slicing a text is
   * faster. Throws MalformedError for other bytes, or for a value that is neither a string nor a list of strings.
   */
  static fromTnetstring(bytes: Uint8Array, text: string, start: number, end: number): MessageHeaders {
    const spans: number[] = []
    let at = start
    while (at < end) {
      const nameEnd = netstringEnd(bytes, at, end)
      const nameStart = payloadStart
      if (bytes[nameEnd] !== COMMA) throw new MalformedError(`a header's name at ${at} is no string`)
      const valueEnd = netstringEnd(bytes, nameEnd + 1, end)
      const type = bytes[valueEnd]
      if (type === COMMA) spans.push(nameStart, nameEnd - nameStart, payloadStart, valueEnd)
      else if (type === LIST_END && !isOwn(text, nameStart)) addList(spans, bytes, nameStart, nameEnd, valueEnd)
      else throw noString(text.slice(nameStart, nameEnd))
      at = valueEnd + 1
    }
    return new MessageHeaders(text, spans, false)
  }

  /** Reads the JSON object from `start` to `end` of Latin-1 text; throws as `fromTnetstring` does. */
  static fromJson(text: string, start: number, end: number): MessageHeaders {
    const firstEscape = text.indexOf('\\', start)
    const spans = plainJsonSpans(text, start, end, firstEscape === -1 ? end : firstEscape)
    return spans === undefined
      ? MessageHeaders.#fromObject(jsonObject(text.slice(start, end)))
      : new MessageHeaders(text, spans, firstEscape !== -1)
  }

  /** @param fields Names and values in turn. */
  static of(fields: readonly string[]): MessageHeaders {
    const spans: number[] = []
    let start = 0
    for (let at = 0; at < fields.length; at += 2) {
      const { length } = fields[at] as string
      const value = start + length + 1
      const end = value + (fields[at + 1] as string).length
      spans.push(start, length, value, end)
      start = end + 1
    }
    // Separated, so that the first character of a value is not that of an empty name.
    return new MessageHeaders(fields.join(':'), spans, false)
  }

  static #fromObject(object: Record<string, unknown>): MessageHeaders {
    const fields: string[] = []
    for (const name in object) {
      const value = object[name]
      const values: unknown[] = Array.isArray(value) && !isOwn(name, 0) ? value : [value]
      for (const item of values) {
        if (typeof item !== 'string') throw noString(name)
        fields.push(name, item)
      }
    }
    return MessageHeaders.of(fields)
  }

  /** Characters of the text that they are in. */
  get size(): number {
    return this.#text.length
  }

  /** Mongrel2's own value, by its name in upper case. */
  own(name: string): string | undefined {
    return this.first(name)
  }

  /** All of Mongrel2's own values. */
  ownEntries(): Record<string, string> {
    const entries: Record<string, string> = {}
    for (let at = 0; at < this.#spans.length; at += SPAN) if (this.#isOwn(at)) entries[this.#name(at)] = this.#value(at)
    return entries
  }

  /** The client's first value, by its name in lower case. */
  first(name: string): string | undefined {
    const at = this.#find(name, 0)
    return at === -1 ? undefined : this.#value(at)
  }

  /** The client's values in order, by their name in lower case. */
  all(name: string): string[] {
    const values: string[] = []
    for (let at = this.#find(name, 0); at !== -1; at = this.#find(name, at + SPAN)) values.push(this.#value(at))
    return values
  }

  /** Visits all fields of the client. Only values of the same name are in order. */
  forEach(visit: (name: string, value: string) => void): void {
    for (let at = 0; at < this.#spans.length; at += SPAN) if (!this.#isOwn(at)) visit(this.#name(at), this.#value(at))
  }

  /** @returns The start of its span; -1 if there is none. */
  #find(name: string, from: number): number {
    const spans = this.#spans
    const text = this.#text
    const first = name.charCodeAt(0)
    for (let at = from; at < spans.length; at += SPAN) {
      if (spans[at + 1] !== name.length) continue
      const start = spans[at] as number
      if (text.charCodeAt(start) === first && text.slice(start, start + name.length) === name) return at
    }
    return -1
  }

  #isOwn(at: number): boolean {
    return isOwn(this.#text, this.#spans[at] as number)
  }

  #name(at: number): string {
    const start = this.#spans[at] as number
    return this.#text.slice(start, start + (this.#spans[at + 1] as number))
  }

  #value(at: number): string {
    const value = this.#text.slice(this.#spans[at + 2], this.#spans[at + 3])
    return this.#escaped && value.includes('\\') ? value.replace(/\\(.)/gs, '$1') : value
  }
}

/** Adds the items of the list that `netstringEnd` has found last. */
function addList(spans: number[], bytes: Uint8Array, nameStart: number, nameEnd: number, end: number): void {
  for (let at = payloadStart; at < end; ) {
    const itemEnd = netstringEnd(bytes, at, end)
    if (bytes[itemEnd] !== COMMA) throw noString(Buffer.from(bytes.subarray(nameStart, nameEnd)).toString('latin1'))
    spans.push(nameStart, nameEnd - nameStart, payloadStart, itemEnd)
    at = itemEnd + 1
  }
}

/**
 * Reads an object in the form that Mongrel2 writes: no spaces, only `"` and `\` escaped and only in values, only strings and lists of them.
 * Undefined for other forms. Much faster than `JSON.parse`, and accepts raw tabs. `firstEscape` is the position of the first `\`, or `end`.
 */
function plainJsonSpans(text: string, start: number, end: number, firstEscape: number): number[] | undefined {
  const spans: number[] = []
  let nextEscape = firstEscape
  let at = start
  while (at < end - 1) {
    if (text.charCodeAt(at) !== (at === start ? BRACE : COMMA) || text.charCodeAt(at + 1) !== QUOTE) return undefined
    const nameStart = at + 2
    const nameEnd = text.indexOf('"', nameStart)
    if (nameEnd === -1 || nextEscape < nameEnd || text.charCodeAt(nameEnd + 1) !== COLON) return undefined
    at = nameEnd + 2
    const list = text.charCodeAt(at) === BRACKET && !isOwn(text, nameStart)
    if (list) at++
    for (;;) {
      if (text.charCodeAt(at) !== QUOTE) return undefined
      let valueEnd = text.indexOf('"', at + 1)
      while (nextEscape < valueEnd) {
        const escaped = text.charCodeAt(nextEscape + 1)
        if (escaped !== QUOTE && escaped !== BACKSLASH) return undefined
        if (nextEscape + 1 === valueEnd) valueEnd = text.indexOf('"', valueEnd + 1)
        nextEscape = text.indexOf('\\', nextEscape + 2)
        if (nextEscape === -1) nextEscape = end
      }
      if (valueEnd === -1) return undefined
      spans.push(nameStart, nameEnd - nameStart, at + 1, valueEnd)
      at = valueEnd + 1
      if (!list) break
      if (text.charCodeAt(at) === LIST_END) {
        at++
        break
      }
      if (text.charCodeAt(at++) !== COMMA) return undefined
    }
  }
  return at > start && at === end - 1 && text.charCodeAt(at) === BRACE_END ? spans : undefined
}

/** Whether the name that begins here is Mongrel2's own. */
function isOwn(text: string, nameStart: number): boolean {
  const first = text.charCodeAt(nameStart)
  return first >= 65 && first <= 90
}

/** Mongrel2 escapes only `"` and `\` in its JSON: a tab in a value is raw, which JSON forbids. */
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

function noString(name: string): MalformedError {
  return new MalformedError(`the header ${JSON.stringify(name.slice(0, 80))} has a value that is no string`)
}
