/** Where a line comes from, if a worker wrote it. */
export interface LogFields {
  /** The worker's process id. */
  worker: number
  /** The node that it runs on; missing on this machine. */
  node?: string
}

/**
 * A logger such as the console or pino. Each method gets a string, and where a worker wrote it `fields`, which may be ignored. Lines of a
 * missing method are not logged.
 */
export interface Logger {
  debug?(line: string, fields?: LogFields): void
  info?(line: string, fields?: LogFields): void
  warn?(line: string, fields?: LogFields): void
  error?(line: string, fields?: LogFields): void
}

/** A logger's methods, the least important first. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type Level = (typeof LOG_LEVELS)[number]

/** The console, for warnings and errors. */
export const consoleLogger: Logger = {
  warn: (line, fields) => console.warn(withWorker(line, fields)),
  error: (line, fields) => console.error(withWorker(line, fields)),
}

/** A line of text with its worker. */
export function withWorker(line: string, fields: LogFields | undefined): string {
  if (fields === undefined) return line
  return `[worker ${fields.worker}${fields.node === undefined ? '' : ` on ${fields.node}`}] ${line}`
}

/** Ignores errors of stdout and stderr (a closed pipe, a full disk), which would otherwise be uncaught exceptions. */
export function surviveLostOutput(): void {
  for (const stream of [process.stdout, process.stderr]) ignoreErrors(stream)
}

const ignored = new WeakSet<object>()

/** Ignores the errors of a stream that lives as long as the process: by one listener, however often it is called. */
export function ignoreErrors(stream: { on(event: 'error', listener: () => void): unknown }): void {
  if (ignored.has(stream)) return
  ignored.add(stream)
  stream.on('error', () => {})
}

/** Milliseconds between two lines about events that a client can cause at will. */
const INTERVAL = 1000

/** Logs one line a second at most, with the number of lines that were left out before it. */
export class ThrottledWarning {
  readonly #logger: Logger
  readonly #level: Level
  #next = 0
  #leftOut = 0

  constructor(logger: Logger, level: Level = 'warn') {
    this.#logger = logger
    this.#level = level
  }

  /** @param line Called only if the line is logged. */
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

/** Shows the first 80 bytes in a log line; escapes all but printable ASCII. */
export function escapeBytes(bytes: Buffer): string {
  const text = bytes.toString('latin1', 0, 80).replace(/[^\x20-\x7e]|\\/g, escapeCharacter)
  return bytes.length > 80 ? `${text}... (${bytes.length} bytes)` : text
}

function escapeCharacter(character: string): string {
  return character === '\\' ? '\\\\' : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`
}

/**
 * Wraps the user's logger: drops its errors, and escapes the control characters of lines (C0, DEL, C1), so that none can be forged. Line breaks
 * stay; the lines after them are indented.
 */
export function safeLogger(logger: Logger): Logger {
  const safe: Logger = {}
  for (const level of LOG_LEVELS) {
    if (logger[level] === undefined) continue
    safe[level] = (line, ...fields) => {
      try {
        const result: unknown = logger[level]?.(escapeLines(line).replace(/\n(?! {4})/g, '\n    '), ...fields)
        if (result instanceof Promise) result.catch(() => {})
      } catch {}
    }
  }
  return safe
}

/** Escapes the control characters of a text except line breaks. */
export function escapeLines(text: string): string {
  return text.replace(/[^\P{Cc}\n]/gu, escapeCharacter)
}

/** Escapes every control character of a text, line breaks too. */
function escapeControls(text: string): string {
  return text.replace(/\p{Cc}/gu, escapeCharacter)
}

/** The beginning of each frame of V8's stacks. */
const FRAME = '\n    at '
const UNDESCRIBED = 'something that cannot be described'

/** Describes a thrown value, with its stack if it has one. Escapes control characters except the stack's line breaks. Never throws. */
export function describeError(error: unknown): string {
  try {
    if (!(error instanceof Error))
      return escapeControls(
        typeof error === 'object' ? process.getBuiltinModule('node:util').inspect(error) : String(error),
      )
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

/** Describes an error that no client can cause, such as a syntax error of the app: all line breaks stay. Never throws. */
export function describeLoadError(error: unknown): string {
  const { stack } = asError(error)
  return typeof stack === 'string' ? stack : describeError(error)
}

/** An error's message. Never throws. */
export function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : describeError(error)
  } catch {
    return UNDESCRIBED
  }
}

/** A thrown value as an Error. Never throws. */
export function asError(thrown: unknown): Error {
  try {
    if (thrown instanceof Error) return thrown
  } catch {}
  return new Error(describeError(thrown))
}
