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

/** What a stranger can make happen at will is said at most this often, in milliseconds. */
const INTERVAL = 1000

/** Says one line a second at most, and with the next one how many were left out. */
export class ThrottledWarning {
  readonly #logger: Logger
  #next = 0
  #leftOut = 0

  constructor(logger: Logger) {
    this.#logger = logger
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
    this.#logger.warn?.(line() + more)
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

/** What is known about something thrown, with its stack where it has one. */
export function describeError(error: unknown): string {
  return error instanceof Error ? (error.stack ?? String(error)) : String(error)
}

/** What an error says, without where it came from. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
