import { escapeLines, type LogFields, type Logger, withWorker } from '../runtime/log.ts'

/** A line of the log. */
export interface LoggedLine {
  /** When it was logged, in milliseconds since 1970. */
  readonly time: number
  readonly level: 'warn' | 'error'
  /** The line, after the worker that wrote it. Control characters are escaped, and a long line is cut. */
  readonly line: string
}

const MOST_LINES = 20
const MOST_CHARACTERS = 1000

/** Keeps the last warnings and errors that a logger gets. */
export class RecentWarnings {
  readonly lines: LoggedLine[] = []
  /** The logger, with these lines kept. */
  readonly logger: Logger

  constructor(logger: Logger) {
    const kept = (level: LoggedLine['level']) => (line: string, fields?: LogFields) => {
      this.lines.push({
        time: Date.now(),
        level,
        line: escapeLines(withWorker(line, fields).slice(0, MOST_CHARACTERS)),
      })
      if (this.lines.length > MOST_LINES) this.lines.shift()
      logger[level]?.(line, fields)
    }
    this.logger = { ...logger, warn: kept('warn'), error: kept('error') }
  }
}
