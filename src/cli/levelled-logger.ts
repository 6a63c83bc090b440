import { type Level, LOG_LEVELS, type Logger } from '../log.ts'

/** The least that is logged; `silent` is nothing at all. */
export type LogLevel = Level | 'silent'

/** A logger that leaves out what is below a level. */
export function levelledLogger(logger: Logger, least: LogLevel): Logger {
  const levels = least === 'silent' ? [] : LOG_LEVELS.slice(LOG_LEVELS.indexOf(least))
  const levelled: Logger = {}
  for (const level of levels) levelled[level] = (line) => logger[level]?.(line)
  return levelled
}
