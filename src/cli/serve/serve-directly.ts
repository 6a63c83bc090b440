import { checkWorkersOptions, type WorkersOptions } from '../../cluster/options.ts'
import { optionsForOneOf } from '../../exchange/options.ts'
import { LOG_LEVELS } from '../../runtime/log.ts'
import { Supervisor } from '../direct/supervisor.ts'
import type { CommandSettings } from '../options/settings.ts'

/** Serves an app by processes that each pull from Mongrel2 for themselves, without a dispatcher. */
export function serveDirectly(
  { app, exportName, config, options, logger }: CommandSettings,
  given: Omit<WorkersOptions, 'app' | 'options'>,
): Supervisor {
  const { logger: _logger, identity: _identity, ...rest } = options
  const checked = checkWorkersOptions({ ...given, app: { module: '' }, options })
  const logLevels = LOG_LEVELS.filter((level) => logger[level] !== undefined)
  const task = {
    data: { app, exportName, config },
    options: { ...optionsForOneOf(checked.workers, rest), shared: true },
    logLevels,
  }
  return new Supervisor({ ...checked, task }, logger)
}
