import { invalid, isObject, Mongrel2Error } from '../runtime/errors.ts'
import { consoleLogger, type Logger, safeLogger } from '../runtime/log.ts'
import { IPC_LONGEST } from '../runtime/process/temporary-directory.ts'
import { nearest } from './did-you-mean.ts'

/** The description of an option: its check, default, flag, variable, help and completion follow from it. */
export interface Option<T = unknown> {
  /** Returns the checked value, or the default for undefined; throws a Mongrel2Error `invalid_option` with the name. */
  readonly check: (name: string, value: unknown) => T
  /** The default, as the help shows it. */
  readonly fallback: string
  /** One sentence for the help of the command; undefined if only code can give the option. */
  readonly help?: string
  /** The placeholder of the value in the help; empty for a boolean. */
  readonly placeholder?: string
  /** The flag without its dashes. Default: the option's name in kebab-case. */
  readonly flag?: string
  /** A letter that is a flag too. */
  readonly letter?: string
  /** Whether the flag can be repeated, for a list. */
  readonly repeated?: boolean
  readonly choices?: readonly string[]
  /** Parses the text of a flag or variable; leaves what it cannot parse to `check`. Default: the text itself. */
  readonly read?: (text: string) => unknown
  /** The options in an object. */
  readonly options?: Options
}

export type Options = Readonly<Record<string, Option>>
/** A description of each option of a type. */
export type Described<T> = { readonly [K in keyof Required<T>]: Option<T[K] | undefined> }
/** The checked values, with their defaults. */
export type Checked<T> = { readonly [K in keyof T]: T[K] extends Option<infer V> ? V : never }

/** The description of an option beside its kind. */
interface More<T> extends Partial<Omit<Option, 'check'>> {
  /** The default, or a function that makes it. */
  readonly initial?: T | (() => T)
  readonly required?: boolean
}

/** The least and, unless it is unbounded, the greatest value. */
type Range = readonly [least: number, most?: number]

export const KIB = 1024
export const MIB: number = 1024 * KIB
/** The largest size in a ZeroMQ frame of ours or in a reply to Mongrel2. */
export const MAX_BYTES: number = 1024 * MIB
/** The longest delay of a timer of Node's, in milliseconds. */
export const MAX_DELAY = 2_147_483_647
/** Host names as libzmq takes them, or an IPv6 address in brackets. */
const TCP = /^tcp:\/\/(?:[\w.%-]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):(\d{1,5})$/

/** An option whose value is used unchanged. */
export function option<T>(expected: string, accepts: (value: unknown) => boolean, more: More<T> = {}): Option<T> {
  const { initial, required = false, ...rest } = more
  return {
    fallback: ['string', 'number', 'boolean'].includes(typeof initial) ? String(initial) : '',
    ...rest,
    check(name, value) {
      if (value === undefined && !required) return initial instanceof Function ? initial() : (initial as T)
      if (!accepts(value)) throw invalid(name, expected, value)
      return value as T
    },
  }
}

/** A number of things. */
export function count(initial: number | undefined, [least, most]: Range, more?: More<number>): Option<number> {
  return option(
    most === undefined ? `an integer from ${least}` : `an integer from ${least} to ${most}`,
    (value) => Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= (most ?? Number(value)),
    { ...(initial !== undefined && { initial }), placeholder: 'N', read: numberIn, ...more },
  )
}

/** A size in bytes. */
export function bytes(initial: number, range: Range, more?: More<number>): Option<number> {
  const [unit, name] = initial >= MIB ? [MIB, 'MiB'] : [KIB, 'KiB']
  const fallback = initial < KIB ? String(initial) : `${initial / unit} ${name}`
  return count(initial, range, { fallback, placeholder: 'BYTES', ...more })
}

/** A time in milliseconds. */
export function milliseconds(initial: number, least: number, more?: More<number>): Option<number> {
  return count(initial, [least, MAX_DELAY], { placeholder: 'MS', ...more })
}

/** Parses digits only: `Number` accepts '', '0x10' and '1e3' too. */
export function numberIn(text: string): unknown {
  return /^-?\d+$/.test(text) ? Number(text) : text
}

/** True or false. */
export function boolean(initial: boolean, more?: More<boolean>): Option<boolean> {
  return option('true or false', (value) => typeof value === 'boolean', {
    initial,
    placeholder: '',
    read: booleanIn,
    ...more,
  })
}

export function booleanIn(text: string): unknown {
  return text === 'true' || (text === 'false' ? false : text)
}

/** One of a list of texts. */
export function oneOf<const T extends string>(choices: readonly T[], initial: NoInfer<T>, more?: More<T>): Option<T> {
  const quoted = choices.map((choice) => `'${choice}'`)
  const expected = `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`
  return option(expected, (value) => choices.some((choice) => choice === value), { initial, choices, ...more })
}

/** A text that is not empty, or has a form. */
export function text<M extends More<string> = object>(
  expected: string,
  accepts: (text: string) => boolean = (text) => text !== '',
  more?: M,
): Option<M extends { initial: unknown } | { required: true } ? string : string | undefined> {
  return option<string>(expected, (value) => typeof value === 'string' && accepts(value), more) as Option<never>
}

/** A list of texts, separated by spaces in a flag. */
export function texts(more: More<readonly string[]>): Option<readonly string[]> {
  const accepts = (value: unknown) => Array.isArray(value) && value.every((item) => typeof item === 'string')
  return option('a list of texts', accepts, { read: wordsIn, ...more })
}

export function wordsIn(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}

/** A function. */
export function callback<T>(): Option<T | undefined> {
  return option('a function', (value) => typeof value === 'function')
}

/** An option with a check of its own. */
export function checkedBy<T>(check: Option<T>['check'], more?: More<T>): Option<T> {
  return { fallback: '', ...more, check }
}

/** An option that its user checks. */
export function unchecked<T>(): Option<T> {
  return checkedBy((_name, value) => value as T)
}

/** An object of options. */
export function group<T extends Options>(what: string, expected: string, options: T): Option<Checked<T>> {
  const check = checkerOf(what, expected, options)
  return checkedBy((name, value) => check(value === undefined ? {} : value, name), { options })
}

/** A ZeroMQ address. */
export const SPEC: Option<string> = checkedBy((name, spec) => {
  const port = typeof spec === 'string' ? TCP.exec(spec)?.[1] : undefined
  if (port !== undefined && Number(port) >= 1 && Number(port) <= 65_535) return String(spec)
  if (typeof spec !== 'string' || !/^ipc:\/\/./s.test(spec)) throw invalid(name, 'tcp://HOST:PORT or ipc://PATH', spec)
  if (Buffer.byteLength(spec) - 'ipc://'.length <= IPC_LONGEST) return spec
  throw invalid(name, `an ipc path of at most ${IPC_LONGEST} bytes`, spec)
})

/** The `send_spec` of a Handler, which may be one that a gateway of this process has bound. */
export const SEND_SPEC: Option<string> = checkedBy((name, spec) =>
  typeof spec === 'string' && /^inproc:\/\/./s.test(spec) ? spec : SPEC.check(name, spec),
)

export const PORT: Option<number> = count(undefined, [0, 65_535], { required: true })
export const SIGNAL: Option<AbortSignal | undefined> = option('an AbortSignal', (value) => value instanceof AbortSignal)

const METHOD = callback()
const DEFAULT_LOGGER = safeLogger(consoleLogger)

export const LOGGER: Option<Logger> = {
  fallback: 'console',
  check(name, logger) {
    if (logger === undefined) return DEFAULT_LOGGER
    if (!isObject(logger)) throw invalid(name, 'an object with the methods debug, info, warn and error', logger)
    for (const method of ['debug', 'info', 'warn', 'error']) METHOD.check(`${name}.${method}`, logger[method])
    return safeLogger(logger as Logger)
  },
}

/** Makes the check of an object of options, each called `what` in errors. It refuses unknown and misspelled names. */
export function checkerOf<T extends Options>(
  what: string,
  expected: string,
  options: T,
): (values: unknown, name?: string) => Checked<T> {
  const names = Object.keys(options)
  return (values, name = 'options') => {
    if (!isObject(values)) throw invalid(name, expected, values)
    for (const key of Object.keys(values)) {
      if (names.includes(key)) continue
      const near = nearest(key, names)
      const meant = near === undefined ? 'there are' : `did you mean ${near}? There are`
      throw new Mongrel2Error('invalid_option', `there is no ${what} ${key}; ${meant} ${names.join(', ')}`)
    }
    const prefix = name === 'options' ? '' : `${name}.`
    return Object.fromEntries(names.map((key) => [key, options[key]?.check(prefix + key, values[key])])) as Checked<T>
  }
}
