import { relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { describeError, describeLoadError, messageOf } from '../../runtime/log.ts'
import { ownDirectory } from '../../runtime/process/own-modules.ts'
import { CommandError } from '../shared/exit-code.ts'

/** A line of the user's code in the stack of an error. */
export interface Place {
  /** Such as `app.ts:12:7`. */
  readonly name: string
  readonly line: number
  /** The lines around it. */
  readonly source: readonly { readonly lineNumber: number; readonly chunk: string }[]
}

/** The directory of this package's modules. */
const OURS = fileURLToPath(ownDirectory())
/** The message of a syntax error that tsx found. */
const OF_TSX = /^(?<file>.+):(?<line>\d+):\d+: ERROR: (?<reason>.*)/m
/** Causes that are shown. */
const MOST_CAUSES = 5
/** Lines before and after a place in the terminal. */
const AROUND = 2

/**
 * Finds the user's own places in an error's stack, the innermost first. Never throws.
 *
 * @param loading Whether the error comes from loading the app; otherwise a client may have forged frames in its message.
 */
export async function placesOf(error: unknown, loading = false): Promise<Place[]> {
  try {
    if (!(error instanceof Error)) return []
    // Only needed after an error.
    const { ErrorParser } = await import('youch-core')
    const { frames } = await new ErrorParser().parse(loading ? error : withoutMessage(error))
    const places = frames.flatMap(({ type, fileName = '', lineNumber: line = 0, columnNumber, source }) => {
      if (type !== 'app' || source === undefined || fileName.startsWith(OURS)) return []
      const name = [relative(process.cwd(), fileName), line, columnNumber]
        .filter((part) => part !== undefined)
        .join(':')
      return [[name, { name, line, source }] as const]
    })
    return [...new Map(places).values()]
  } catch {
    return []
  }
}

function withoutMessage({ message, stack = '' }: Error): Error {
  const found = stack.indexOf(message)
  const frames = new Error()
  frames.stack = found === -1 ? '' : `Error${stack.slice(found + message.length)}`
  return frames
}

/** Gives a syntax error of tsx the form of Node's own, whose stack begins with the place. */
export function asSyntaxError(error: unknown): unknown {
  const { file, line, reason } = (error instanceof Error && OF_TSX.exec(error.message)?.groups) || {}
  if (file === undefined) return error
  const found = new SyntaxError(reason)
  found.stack = `${pathToFileURL(file)}:${line}\n\n${messageOf(error)}`
  return found
}

/** The causes of an error, the next one first. Never throws. */
export function causesOf(error: unknown): unknown[] {
  const causes: unknown[] = []
  try {
    for (let at = error; at instanceof Error && at.cause !== undefined && causes.length < MOST_CAUSES; at = at.cause)
      causes.push(at.cause)
  } catch {}
  return causes
}

/** Describes an error for the terminal by its message and the user's code; with its whole stack if that has none of it. */
export function shortDescription(error: unknown, places: readonly Place[]): string {
  const [first] = places
  // An error of ours needs no stack.
  if (first === undefined) return error instanceof CommandError ? error.message : describeLoadError(error)
  const code = first.source.filter(({ lineNumber }) => Math.abs(lineNumber - first.line) <= AROUND)
  const width = String(code.at(-1)?.lineNumber).length
  const lines = code.map(({ lineNumber, chunk }) => {
    return `${lineNumber === first.line ? '>' : ' '} ${String(lineNumber).padStart(width)} | ${chunk}`.trimEnd()
  })
  const others = places.slice(1).map(({ name }) => `at ${name}`)
  const causes = causesOf(error).map((cause) => `caused by ${headline(cause)}`)
  return [headline(error), `at ${first.name}`, ...lines, ...others, ...causes].join('\n')
}

/** An error's name and message in one line. Never throws. */
export function headline(error: unknown): string {
  try {
    if (error instanceof Error) return String(error).replaceAll('\n', ' ')
  } catch {}
  return describeError(error)
}
