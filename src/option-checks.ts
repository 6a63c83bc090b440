import { Mongrel2Error } from './errors.ts'

/** The longest timer there is. */
export const MAX_DELAY = 2_147_483_647

/** Refuses a misspelled name: what it was meant to do would silently not happen. */
export function known(what: string, options: object, names: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) {
      throw new Mongrel2Error('invalid_option', `there is no ${what} ${name}; there are ${names.join(', ')}`)
    }
  }
}

/** An integer in a range, or what stands for none. */
export function integer(name: string, value: unknown, least: number, most: number, otherwise: number): number {
  if (value === undefined) return otherwise
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
  throw invalid(
    name,
    most === Number.MAX_SAFE_INTEGER ? `an integer from ${least}` : `an integer from ${least} to ${most}`,
    value,
  )
}

/** True or false, or what stands for neither. */
export function boolean(name: string, value: unknown, otherwise: boolean): boolean {
  if (value === undefined) return otherwise
  if (typeof value !== 'boolean') throw invalid(name, 'true or false', value)
  return value
}

/** A function, if there is anything. */
export function optionalFunction<T>(name: string, value: T): T {
  if (value !== undefined && typeof value !== 'function') throw invalid(name, 'a function', value)
  return value
}

/** An object with options, no list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The error for a wrong option. */
export function invalid(name: string, expected: string, got: unknown): Mongrel2Error {
  return new Mongrel2Error('invalid_option', `${name}: expected ${expected}, got ${describe(got)}`)
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return `a list of ${value.length}`
  return isObject(value) ? `an object (${Object.keys(value).join(', ')})` : String(value)
}
