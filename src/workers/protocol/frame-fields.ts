import { isObject } from '../../runtime/errors.ts'
import { MalformedError } from '../../wire/malformed.ts'

/** What a field of a frame may hold. */
export interface FieldCheck {
  readonly expected: string
  holds(value: unknown): boolean
}

/** The fields of each kind of frame, where `Kind` is the field that names it. */
export type FrameFields<Frame, Kind extends keyof Frame> = {
  readonly [Name in Frame[Kind] & string]: {
    readonly [Field in Exclude<keyof Extract<Frame, { readonly [K in Kind]: Name }>, Kind>]-?: FieldCheck
  }
}

export const text: FieldCheck = { expected: 'a string', holds: (value) => typeof value === 'string' }
export const bool: FieldCheck = { expected: 'true or false', holds: (value) => typeof value === 'boolean' }
export const object: FieldCheck = { expected: 'an object', holds: isObject }
export const time: FieldCheck = {
  expected: 'a time in milliseconds',
  holds: (value) => typeof value === 'number' && value >= 0,
}
/** What fits in one byte of the frames that are not JSON. */
export const byte: FieldCheck = integer(0, 0xff)
/** What fits in four bytes of them. */
export const uint32: FieldCheck = integer(0, 0xffff_ffff)
/** A number that counts up. */
export const count: FieldCheck = integer(0, Number.MAX_SAFE_INTEGER)

export function integer(least: number, most: number): FieldCheck {
  return {
    expected: `an integer from ${least} to ${most}`,
    holds: (value) => typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most,
  }
}

export function oneOf(values: readonly string[]): FieldCheck {
  return { expected: values.join(' or '), holds: (value) => typeof value === 'string' && values.includes(value) }
}

/** A field that holds something else too: null, or undefined, which JSON leaves out. */
export function or(other: null | undefined, check: FieldCheck): FieldCheck {
  return { expected: `${check.expected} or ${other}`, holds: (value) => value === other || check.holds(value) }
}

/**
 * Parses a frame of JSON and checks each of its fields.
 *
 * @param kind The field that names the kind of frame.
 * @throws MalformedError that says what was expected and what came.
 */
export function parseFields<Frame, Kind extends keyof Frame & string>(
  bytes: Buffer,
  kind: Kind,
  frames: FrameFields<Frame, Kind>,
): Frame {
  const frame = jsonIn(bytes)
  const name = isObject(frame) ? frame[kind] : undefined
  if (!isObject(frame) || typeof name !== 'string' || !Object.hasOwn(frames, name)) {
    throw new MalformedError(`expected a frame whose ${kind} is one of ${Object.keys(frames)}, got ${shown(name)}`)
  }
  const fields: Readonly<Record<string, FieldCheck>> = frames[name as keyof typeof frames]
  for (const [field, { expected, holds }] of Object.entries(fields)) {
    if (!holds(frame[field])) {
      throw new MalformedError(`expected ${expected} as ${field} of the frame ${name}, got ${shown(frame[field])}`)
    }
  }
  return frame as Frame
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
