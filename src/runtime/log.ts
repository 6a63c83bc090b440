import { inspect } from 'node:util'

/**
 * Where lines go: the method shape that the console, pino and others share. Each method gets one string.
 * What is left out is not logged.
 */
export interface Logger {
  debug?(line: string): void
  info?(line: string): void
  warn?(line: string): void
  error?(line: string): void
}

/** A logger's methods, from what is of the least interest on. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type Level = (typeof LOG_LEVELS)[number]

/** The console, for what somebody has to look at. */
export const consoleLogger: Logger = {
  warn: (line) => console.warn(line),
  error: (line) => console.error(line),
}

/**
 * Lets the process live when nobody reads its output any more, or its disk is full: what cannot be written is lost. Without this the first such write is an
 * uncaught exception, and so is the line that reports it.
 */
export function surviveLostOutput(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
}

/** What a stranger can make happen at will is said at most this often, in milliseconds. */
const INTERVAL = 1000

/** Says one line a second at most, and with the next one how many were left out. */
export class ThrottledWarning {
  readonly #logger: Logger
  readonly #level: Level
  #next = 0
  #leftOut = 0

  constructor(logger: Logger, level: Level = 'warn') {
    this.#logger = logger
    this.#level = level
  }

  /** @param line Made only when it is said. */
  say(line: () => string): void {
    const now = performance.now()
    if (now < this.#next) {
      this.#leftOut++
      return
    }
    const more = this.#leftOut > 0 ? ` (and ${this.#leftOut} more like it)` : ''
    this.#next = now + INTERVAL
    this.#leftOut = 0
    this.#logger[this.#level]?.(line() + more)
  }
}

/** Shows bytes in a log line: the first 80, what is not printable ASCII escaped. */
export function escapeBytes(bytes: Buffer): string {
  const text = bytes.toString('latin1', 0, 80).replace(/[^\x20-\x7e]|\\/g, escapeCharacter)
  return bytes.length > 80 ? `${text}... (${bytes.length} bytes)` : text
}

function escapeCharacter(character: string): string {
  return character === '\\' ? '\\\\' : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`
}

/**
 * A logger that cannot fail, and whose lines cannot be forged: control characters are escaped, and what follows a line break is indented.
 *
 * @param logger The user's. What its methods throw is dropped: there is no other place to say it.
 */
export function safeLogger(logger: Logger): Logger {
  const safe: Logger = {}
  for (const level of LOG_LEVELS) {
    if (logger[level] === undefined) continue
    safe[level] = (line) => {
      try {
        const result: unknown = logger[level]?.(escapeLine(line))
        if (result instanceof Promise) result.catch(() => {})
      } catch {}
    }
  }
  return safe
}

/** Escapes the control characters of a log line (C0, DEL, C1). Line breaks stay, and what follows one is indented. */
export function escapeLine(line: string): string {
  return escapeLines(line).replace(/\n(?! {4})/g, '\n    ')
}

/** Escapes the control characters of a text but for line breaks. */
export function escapeLines(text: string): string {
  return text.replace(/[^\P{Cc}\n]/gu, escapeCharacter)
}

/** Escapes every control character of a text, line breaks too. */
function escapeControls(text: string): string {
  return text.replace(/\p{Cc}/gu, escapeCharacter)
}

/** How V8 begins each frame of a stack. */
const FRAME = '\n    at '

const UNDESCRIBED = 'something that cannot be described'

/**
 * Describes something thrown, with its stack where it has one. Never throws itself, whatever the value is. Control characters of the message
 * are escaped; the line breaks of the stack stay.
 */
export function describeError(error: unknown): string {
  try {
    if (!(error instanceof Error)) return escapeControls(typeof error === 'object' ? inspect(error) : String(error))
    const { stack, message } = error
    if (typeof stack !== 'string') return escapeControls(String(error))
    const found = stack.indexOf(message)
    const end = found !== -1 && found <= stack.indexOf(FRAME) ? found + message.length : 0
    const at = stack.indexOf(FRAME, end)
    return at === -1 ? escapeControls(stack) : escapeControls(stack.slice(0, at)) + stack.slice(at)
  } catch {
    return UNDESCRIBED
  }
}

/**
 * Describes an error that no client can have caused, such as a syntax error of the app: all line breaks of its stack stay.
 * Never throws.
 */
export function describeLoadError(error: unknown): string {
  const { stack } = asError(error)
  return typeof stack === 'string' ? stack : describeError(error)
}

/** What an error says, without where it came from. Never throws. */
export function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : describeError(error)
  } catch {
    return UNDESCRIBED
  }
}

/** Something thrown as an Error: itself if it is one. Never throws. */
export function asError(thrown: unknown): Error {
  try {
    if (thrown instanceof Error) return thrown
  } catch {}
  return new Error(describeError(thrown))
}
