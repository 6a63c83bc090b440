import * as is from '../options/option.ts'
import { invalid } from '../runtime/errors.ts'

/**
 * The two ways to write a text. m2sh knows a backslash only to skip the character behind it, and keeps both: a quote cannot be escaped, and a text
 * cannot end in a backslash.
 */
const QUOTES = [/^"(?:[^\\"]|\\.)*"$/u, /^'(?:[^\\']|\\.)*'$/u]
/** Control characters, and halves of characters, which UTF-8 does not have. */
const UNWRITABLE = /[\p{Cc}\p{Cs}]/u

/** A text in quotes as `m2sh load` reads it; undefined for one that its grammar has no place for. */
export function quoted(text: string): string | undefined {
  if (UNWRITABLE.test(text)) return undefined
  return [`"${text}"`, `'${text}'`].find((candidate, at) => QUOTES[at]?.test(candidate))
}

/** An option whose value is a text in Mongrel2's configuration. */
export function text<M extends { initial?: string; required?: boolean } = object>(
  expected: string,
  accepts: (text: string) => boolean = (text) => text !== '',
  more?: M,
): ReturnType<typeof is.text<M>> {
  const plain = is.text(expected, accepts, more)
  return is.checkedBy((name, value) => {
    const checked = plain.check(name, value)
    if (checked === undefined || quoted(checked) !== undefined) return checked
    const readable =
      'a text that m2sh can read, which cannot hold both kinds of quotes, control characters, or a backslash at its end'
    throw invalid(name, readable, checked)
  }) as ReturnType<typeof is.text<M>>
}

/** An address that Mongrel2 binds: it may have `*` or the name of an interface as its host. */
export function spec<M extends { required?: boolean } = object>(more?: M): ReturnType<typeof text<M>> {
  return text('tcp://ADDRESS:PORT or ipc://PATH', (value) => /^(?:tcp:\/\/.+:\d{1,5}|ipc:\/\/.+)$/.test(value), more)
}
