import type { Option } from './option-table.ts'

/**
 * Reads the text of a flag or an environment variable.
 *
 * @throws {Error} With what was expected.
 */
export function parseOption(option: Option, text: string): unknown {
  const value = fromText(option, text)
  checkOption(option, value)
  return value
}

function fromText({ kind }: Option, text: string): unknown {
  switch (kind) {
    case 'integer':
      return numberOf(text)
    case 'boolean':
      return booleanOf(text)
    case 'processes':
      return text === 'auto' ? text : numberOf(text)
    case 'keys':
    case 'words':
      return text.split(/\s+/).filter((word) => word !== '')
    case 'proxies':
      return typeof booleanOf(text) === 'boolean' ? booleanOf(text) : numberOf(text)
    case 'endpoints':
      return text.split(/\s+/).filter((endpoint) => endpoint !== '')
    case 'string':
      return text
  }
}

/**
 * Checks the type of a value, wherever it comes from; ranges are for whoever uses it.
 *
 * @throws {Error} With what was expected.
 */
export function checkOption({ kind, choices }: Option, value: unknown): void {
  if (choices !== undefined && !choices.some((choice) => choice === value)) {
    throw expected(`one of ${choices.join(', ')}`, value)
  }
  if (kind === 'integer' && !Number.isSafeInteger(value)) throw expected('an integer', value)
  if (kind === 'boolean' && typeof value !== 'boolean') throw expected('true or false', value)
  if (kind === 'proxies' && typeof value !== 'boolean' && !Number.isSafeInteger(value))
    throw expected('true, false or a number of proxies', value)
  if (kind === 'processes' && value !== 'auto' && !Number.isSafeInteger(value))
    throw expected('a number of processes or auto', value)
  if (
    (kind === 'words' || kind === 'keys') &&
    !(Array.isArray(value) && value.every((word) => typeof word === 'string'))
  )
    throw expected('a list of texts', value)
  if (kind === 'string' && (typeof value !== 'string' || value === '')) throw expected('a text', value)
}

function booleanOf(text: string): unknown {
  if (text === 'true') return true
  return text === 'false' ? false : text
}

/** Digits only: `Number` would take '' and '0x10' and '1e3'. */
function numberOf(text: string): unknown {
  return /^-?\d+$/.test(text) ? Number(text) : text
}

function expected(what: string, got: unknown): Error {
  return new Error(`expected ${what}, got ${typeof got === 'string' ? JSON.stringify(got) : String(got)}`)
}
