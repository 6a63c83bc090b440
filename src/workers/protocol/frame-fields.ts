import * as is from '../../options/option.ts'
import { invalid } from '../../runtime/errors.ts'
import { messageOf } from '../../runtime/log.ts'
import { MalformedError } from '../../wire/malformed.ts'

/** The fields of frames, by the kinds of frames. */
type FrameFields = Readonly<Record<string, is.Options>>

/** The frames of such fields; the field `Kind` names the kind of frame. */
export type FrameOf<Fields extends FrameFields, Kind extends string> = {
  [Name in keyof Fields & string]: { readonly [_ in Kind]: Name } & is.Checked<Fields[Name]>
}[keyof Fields & string]

/** The longest error about a frame, in characters: a frame may have a megabyte. */
const LONGEST_ERROR = 200

export const text: is.Option<string> = is.text('a text', () => true, { required: true })
export const bool: is.Option<boolean> = is.boolean(false, { required: true })
/** A number of one byte in binary frames. */
export const byte: is.Option<number> = integer(0, 0xff)
/** A number of four bytes in binary frames. */
export const uint32: is.Option<number> = integer(0, 0xffff_ffff)
/** A counter. */
export const count: is.Option<number> = integer(0, Number.MAX_SAFE_INTEGER)

export function integer(least: number, most: number): is.Option<number> {
  return is.count(undefined, [least, most], { required: true })
}

/** Parses a frame of JSON, whose field `kind` names its kind, and checks its fields; throws MalformedError. */
export function parseFields<Fields extends FrameFields, Kind extends string>(
  bytes: Buffer,
  kind: Kind,
  frames: Fields,
): FrameOf<Fields, Kind> {
  try {
    const { [kind]: name, ...fields }: Record<string, unknown> = Object(JSON.parse(bytes.toString()))
    if (typeof name !== 'string' || !Object.hasOwn(frames, name)) {
      throw invalid(kind, `one of ${Object.keys(frames)}`, name)
    }
    const check = is.checkerOf(`field of ${name}`, 'an object', frames[name] ?? {})
    return { [kind]: name, ...check(fields, name) } as FrameOf<Fields, Kind>
  } catch (error) {
    const expected = error instanceof SyntaxError ? 'expected a frame of JSON: ' : ''
    throw new MalformedError(expected + messageOf(error).slice(0, LONGEST_ERROR))
  }
}
