import { Mongrel2Error } from '../runtime/errors.ts'
import { consoleLogger, type Logger, safeLogger } from '../runtime/log.ts'
import { nearest } from './did-you-mean.ts'

// Each returns a checked value or throws a Mongrel2Error `invalid_option` that names the option, what was expected and what came.

/** The largest number of bytes that a ZeroMQ frame of ours or a reply to Mongrel2 can speak of. */
export const MAX_BYTES: number = 1024 * 1024 * 1024
/** The longest string that is read of a message: a netstring's length has 9 digits there. */
export const MAX_MESSAGE_SIZE = 999_999_999
/** The longest timer there is. */
export const MAX_DELAY = 2_147_483_647
/** The longest path of an ipc address in bytes: `sun_path` of Linux holds 108, the last of them zero. */
export const IPC_LONGEST = 107
/** Host names as libzmq takes them, or an IPv6 address in brackets. */
const TCP = /^tcp:\/\/(?:[\w.%-]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):(\d{1,5})$/

/** Refuses a misspelled name: what it was meant to do would silently not happen. */
export function known(what: string, options: object, names: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (names.includes(name)) continue
    const near = nearest(name, names)
    const meant = near === undefined ? 'there are' : `did you mean ${near}? There are`
    throw new Mongrel2Error('invalid_option', `there is no ${what} ${name}; ${meant} ${names.join(', ')}`)
  }
}

/** A ZeroMQ address. */
export function specOf(name: string, spec: unknown): string {
  if (typeof spec !== 'string') throw invalid(name, 'tcp://HOST:PORT or ipc://PATH', spec)
  const port = TCP.exec(spec)?.[1]
  if (port !== undefined && Number(port) >= 1 && Number(port) <= 65_535) return spec
  const path = spec.startsWith('ipc://') ? spec.slice('ipc://'.length) : ''
  if (path === '') throw invalid(name, 'tcp://HOST:PORT or ipc://PATH', spec)
  if (Buffer.byteLength(path) > IPC_LONGEST) throw invalid(name, `an ipc path of at most ${IPC_LONGEST} bytes`, spec)
  return spec
}

const DEFAULT_LOGGER = safeLogger(consoleLogger)

/** A logger, by default the console. */
export function loggerOf(logger: unknown): Logger {
  if (logger === undefined) return DEFAULT_LOGGER
  if (!isObject(logger)) throw invalid('logger', 'an object with the methods debug, info, warn and error', logger)
  for (const name of ['debug', 'info', 'warn', 'error']) optionalFunction(`logger.${name}`, logger[name])
  return safeLogger(logger as Logger)
}

/** An integer within bounds. */
export function integer(name: string, value: unknown, least: number, most: number, otherwise: number): number {
  if (value === undefined) return otherwise
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
  throw invalid(
    name,
    most === Number.MAX_SAFE_INTEGER ? `an integer from ${least}` : `an integer from ${least} to ${most}`,
    value,
  )
}

/** True or false. */
export function boolean(name: string, value: unknown, otherwise: boolean): boolean {
  if (value === undefined) return otherwise
  if (typeof value !== 'boolean') throw invalid(name, 'true or false', value)
  return value
}

/** One of some texts. */
export function oneOf<T extends string>(name: string, value: unknown, texts: readonly T[], otherwise: T): T {
  if (value === undefined) return otherwise
  const found = texts.find((text) => text === value)
  if (found === undefined) throw invalid(name, texts.map((text) => `'${text}'`).join(' or '), value)
  return found
}

/** A list of texts. */
export function texts(name: string, value: unknown, fallback: readonly string[]): readonly string[] {
  if (value === undefined) return fallback
  if (Array.isArray(value) && value.every((text) => typeof text === 'string')) return value
  throw invalid(name, 'a list of texts', value)
}

/** An AbortSignal, or nothing. */
export function optionalSignal(name: string, value: unknown): AbortSignal | undefined {
  if (value !== undefined && !(value instanceof AbortSignal)) throw invalid(name, 'an AbortSignal', value)
  return value
}

/** What a server's `close` is called with; the milliseconds that what is open may take. */
export function checkCloseOptions(options: unknown): number {
  if (options === undefined) return checkTimeout(undefined)
  if (!isObject(options)) throw invalid('options', '{ timeout }', options)
  known('option of close', options, ['timeout'])
  return checkTimeout(options.timeout)
}

/** A limit of time for `close`, in milliseconds. */
export function checkTimeout(timeout: unknown): number {
  return integer('timeout', timeout, 0, MAX_DELAY, 10_000)
}

/** A function, or nothing. */
export function optionalFunction<T>(name: string, value: T): T {
  if (value !== undefined && typeof value !== 'function') throw invalid(name, 'a function', value)
  return value
}

/** Whether a value has properties to look at. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The error for an option. */
export function invalid(name: string, expected: string, got: unknown): Mongrel2Error {
  return new Mongrel2Error('invalid_option', `${name}: expected ${expected}, got ${describe(got)}`)
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return `a list of ${value.length}`
  return isObject(value) ? `an object (${Object.keys(value).join(', ')})` : String(value)
}
