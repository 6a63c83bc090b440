import type { Logger } from '../log.ts'

const LEVELS = ['debug', 'info', 'warn', 'error'] as const
type Level = (typeof LEVELS)[number]
/** The least that is logged; `silent` is nothing at all. */
export type LogLevel = Level | 'silent'

/** A logger that leaves out what is below a level. */
export function levelledLogger(logger: Logger, least: LogLevel): Logger {
  const levels = least === 'silent' ? [] : LEVELS.slice(LEVELS.indexOf(least))
  const levelled: Logger = {}
  for (const level of levels) levelled[level] = (line) => logger[level]?.(line)
  return levelled
}
