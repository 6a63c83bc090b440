import type { Level, Logger } from '../../runtime/log.ts'
import type { News } from '../protocol/frames.ts'

/**
 * A logger whose lines are the dispatcher's to write, since one process has the place where they go.
 *
 * @param levels What is logged there; lines of other levels go nowhere.
 */
export function distantLogger(levels: readonly Level[], tell: (line: News & { news: 'line' }) => void): Logger {
  const logger: Logger = {}
  for (const level of levels) logger[level] = (line) => tell({ news: 'line', level, line })
  return logger
}
