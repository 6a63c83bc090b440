import { isObject } from '../../runtime/errors.ts'
import { MalformedError } from '../../wire/malformed.ts'

/** The check of a field of a frame. */
export interface FieldCheck<Value> {
  readonly expected: string
  holds(value: unknown): value is Value
}

/** The fields of frames, by the kinds of frames. */
type FrameFields = Readonly<Record<string, Readonly<Record<string, FieldCheck<unknown>>>>>

/** The frames of such fields; the field `Kind` names the kind of frame. */
export type FrameOf<Fields extends FrameFields, Kind extends string> = {
  [Name in keyof Fields & string]: { readonly [_ in Kind]: Name } & {
    readonly [Field in keyof Fields[Name]]: Fields[Name][Field] extends FieldCheck<infer Value> ? Value : never
  }
}[keyof Fields & string]

export const text: FieldCheck<string> = { expected: 'a string', holds: (value) => typeof value === 'string' }
export const bool: FieldCheck<boolean> = { expected: 'true or false', holds: (value) => typeof value === 'boolean' }
export const time: FieldCheck<number> = {
  expected: 'a time in milliseconds',
  holds: (value): value is number => typeof value === 'number' && value >= 0,
}
/** A number of one byte in binary frames. */
export const byte: FieldCheck<number> = integer(0, 0xff)
/** A number of four bytes in binary frames. */
export const uint32: FieldCheck<number> = integer(0, 0xffff_ffff)
/** A counter. */
export const count: FieldCheck<number> = integer(0, Number.MAX_SAFE_INTEGER)

export function integer(least: number, most: number): FieldCheck<number> {
  return {
    expected: `an integer from ${least} to ${most}`,
    holds: (value): value is number =>
      Number.isInteger(value) && (value as number) >= least && (value as number) <= most,
  }
}

export function oneOf<Value extends string>(values: readonly Value[]): FieldCheck<Value> {
  return { expected: values.join(' or '), holds: (value): value is Value => values.includes(value as Value) }
}

/** A field that may also be null, or undefined, which JSON leaves out. */
export function or<Other extends null | undefined, Value>(
  other: Other,
  check: FieldCheck<Value>,
): FieldCheck<Value | Other> {
  return {
    expected: `${check.expected} or ${other}`,
    holds: (value): value is Value | Other => value === other || check.holds(value),
  }
}

/**
 * Parses a frame of JSON and checks each of its fields.
 *
 * @param kind The field that names the kind of frame.
 * @throws MalformedError with what was expected and what came.
 */
export function parseFields<Fields extends FrameFields, Kind extends string>(
  bytes: Buffer,
  kind: Kind,
  frames: Fields,
): FrameOf<Fields, Kind> {
  const frame = jsonIn(bytes)
  const name = isObject(frame) ? frame[kind] : undefined
  if (!isObject(frame) || typeof name !== 'string' || !Object.hasOwn(frames, name)) {
    throw new MalformedError(`expected a frame whose ${kind} is one of ${Object.keys(frames)}, got ${shown(name)}`)
  }
  for (const [field, check] of Object.entries(frames[name] ?? {})) {
    if (!check.holds(frame[field])) {
      throw new MalformedError(
        `expected ${check.expected} as ${field} of the frame ${name}, got ${shown(frame[field])}`,
      )
    }
  }
  return frame as FrameOf<Fields, Kind>
}

function jsonIn(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    throw new MalformedError(`expected a frame of JSON, got ${shown(bytes.toString('latin1', 0, 80))}`)
  }
}

function shown(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 80) ?? 'nothing'
}
