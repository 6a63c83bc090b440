import { invalid } from '../runtime/errors.ts'
import { lazy } from '../runtime/process/lazy.ts'
import { ENTRY_FIELDS, type RequestEntry } from './request-entry.ts'

/** Makes a line, without its line feed, of an entry. */
export type LineFormat = (entry: RequestEntry) => string

type Field = (typeof ENTRY_FIELDS)[number]
type Text = string | undefined

/** Characters of a value that are written; a longer one ends with `...`. */
const MOST_CHARACTERS = 4096

/** What the option takes. */
export const LINE_FORMAT_FORM = 'combined, json or a template such as "{time} {method} {target} {status}"'
/** An object with every field. */
const JSON_OBJECT = `{${ENTRY_FIELDS.map((field) => `"${field}":${field === 'time' ? '"{time}"' : `{${field}}`}`)}}`
/** A field's name in braces. The text around it may have braces too. */
const PLACEHOLDER = /\{([^{}]*)\}/g

/**
 * Compiles the format of a request log: `combined`, `json`, or a template with the names of fields in braces. No client can forge a line or
 * a field: outside of JSON, a value's `"`, `\`, the character that follows the field in the template and all but printable ASCII are
 * written as \xNN. Throws Mongrel2Error `invalid_option`.
 *
 * @param name The option's name in errors.
 */
export function lineFormat(format: string, name = 'accessLogFormat'): LineFormat {
  if (format === 'json') return compile(JSON_OBJECT, (field) => writerOf(field, 'null', jsonText))
  if (format === 'combined') return combined()
  const fields = Array.from(format.matchAll(PLACEHOLDER), ([, field]) => field)
  if (fields.length === 0 || /[^\P{Cc}\t]/u.test(format)) throw invalid(name, LINE_FORMAT_FORM, format)
  const unknown = fields.find((field) => !ENTRY_FIELDS.some((known) => known === field))
  if (unknown !== undefined) throw invalid(name, `fields from ${ENTRY_FIELDS.join(', ')}`, `{${unknown}}`)
  return compile(format, (field, next) => writerOf(field, '-', plainText(next)))
}

/** Apache's combined log format. It is no template, which is slower: the micro-benchmark `request log, combined`. */
function combined(): LineFormat {
  const [spaced, quoted] = [plainText(' '), plainText('"')]
  // `join` makes one flat text, which is quicker to copy to bytes than one that is composed again for each line.
  const client = rememberedPair((address: Text, second: number) =>
    [spaced(address), ' - - [', apacheSecond(second), '] "'].join(''),
  )
  const outcome = rememberedPair((status: number | undefined, bytes: number) =>
    ['" ', status ?? '-', ' ', bytes, ' '].join(''),
  )
  const origin = rememberedPair((referer: Text, userAgent: Text) =>
    ['"', quoted(referer), '" "', quoted(userAgent), '"'].join(''),
  )
  const word = () => remembered((value: Text) => `${spaced(value)} `, undefined)
  const [method, target, version] = [word(), word(), remembered(quoted, undefined)]
  return (entry) =>
    client(entry.address, Math.floor(entry.time / 1000)) +
    method(entry.method) +
    target(entry.target) +
    version(entry.version) +
    outcome(entry.status, entry.bytes) +
    origin(entry.referer, entry.userAgent)
}

function compile(template: string, writerOf: (field: Field, next: string) => LineFormat): LineFormat {
  const [first = '', ...rest] = template.split(PLACEHOLDER)
  const parts: { write: LineFormat; text: string }[] = []
  for (let at = 0; at < rest.length; at += 2) {
    const text = rest[at + 1] ?? ''
    parts.push({ write: writerOf(rest[at] as Field, text.charAt(0)), text })
  }
  return (entry) => {
    let line = first
    for (const { write, text } of parts) line += write(entry) + text
    return line
  }
}

/** Writes a field of entries. */
function writerOf(field: Field, missing: string, quote: (value: Text) => string): LineFormat {
  switch (field) {
    case 'time':
      return ({ time }) => `${isoSecond(Math.floor(time / 1000))}${thousandths()[Math.floor(time) % 1000]}Z`
    case 'duration':
      return ({ duration }) => {
        const microseconds = Math.round(duration * 1000)
        return `${Math.floor(microseconds / 1000)}${thousandths()[microseconds % 1000]}`
      }
    case 'bytes':
    case 'received':
    case 'status':
    case 'worker':
    case 'connection':
    case 'aborted':
      return (entry) => String(entry[field] ?? missing)
    default: {
      const text = remembered(quote, undefined)
      return (entry) => text(entry[field])
    }
  }
}

/** Renders only what differs from the last value: lines that follow each other have much in common. */
function remembered<T>(render: (value: T) => string, first: NoInfer<T>): (value: T) => string {
  let last = first
  let text = render(first)
  return (value) => {
    if (value !== last) {
      text = render(value)
      last = value
    }
    return text
  }
}

/** Renders only what differs from the last two values. */
function rememberedPair<A, B>(render: (a: A, b: B) => string): (a: A, b: B) => string {
  let last: readonly [A, B] | undefined
  let text = ''
  return (a, b) => {
    if (last === undefined || a !== last[0] || b !== last[1]) {
      text = render(a, b)
      last = [a, b]
    }
    return text
  }
}

/** `.000` to `.999` */
const thousandths = lazy(() => Array.from({ length: 1000 }, (_, number) => `.${String(number).padStart(3, '0')}`))

/** Such as `2026-11-30T03:27:26`. */
const isoSecond = remembered((seconds: number) => new Date(seconds * 1000).toISOString().slice(0, 19), 0)

/** Such as `30/Nov/2026:03:27:26 +0000`. */
const apacheSecond = remembered((seconds: number) => {
  const [, day, month, year, time] = new Date(seconds * 1000).toUTCString().split(' ')
  return `${day}/${month}/${year}:${time} +0000`
}, 0)

/** Printable ASCII without `"` and `\`. */
const SAFE = String.fromCharCode(...Array(127).keys()).replace(/[^ -~]|["\\]/g, '')

/** Escapes values that a character of the template follows. Letters and digits are in escapes, too, and are left as they are. */
function plainText(next: string): (value: Text) => string {
  const safe = /^[^a-z\d]$/i.test(next) ? SAFE.replace(next, '') : SAFE
  const unsafe = new RegExp(`[^${safe.replace(/\W/g, '\\$&')}]`)
  const all = new RegExp(unsafe, 'g')
  return (value) => {
    if (!value) return '-'
    const text = bounded(value)
    return unsafe.test(text) ? text.replace(all, escapeCharacter) : text
  }
}

/** Escapes all but ASCII, and DEL, which JSON allows in strings. */
function jsonText(value: Text): string {
  if (value === undefined) return 'null'
  const text = bounded(value)
  return /[^ !#-[\]-~]/.test(text)
    ? JSON.stringify(text).replace(/[\x7f-\uffff]/g, (character) => `\\u${hex(character, 4)}`)
    : `"${text}"`
}

function bounded(value: string): string {
  return value.length > MOST_CHARACTERS ? `${value.slice(0, MOST_CHARACTERS)}...` : value
}

/** Values are bytes as Latin-1; those of other origin may have more. */
function escapeCharacter(character: string): string {
  return character > '\xff' ? `\\u${hex(character, 4)}` : `\\x${hex(character, 2)}`
}

function hex(character: string, digits: number): string {
  return character.charCodeAt(0).toString(16).padStart(digits, '0')
}
