// Runs the command to its end.

import { CommanderError } from 'commander'
import { Mongrel2Error } from '../runtime/errors.ts'
import { describeLoadError, escapeLines, surviveLostOutput } from '../runtime/log.ts'
import { commandLine } from './command.ts'
import { CommandError, type Ending, EXIT_CODES } from './shared/exit-code.ts'

surviveLostOutput()
process.exit(EXIT_CODES[await run()][0])

async function run(): Promise<Ending> {
  let how: Ending = 'ok'
  try {
    await commandLine((ending) => {
      how = ending
    }).parseAsync()
    return how
  } catch (error) {
    // Commander has printed the help or the version.
    if (error instanceof CommanderError) return 'ok'
    if (error instanceof Mongrel2Error) {
      console.error(`mongrel2-fetch: ${escapeLines(error.message)}`)
      return error.code === 'invalid_option' ? 'usage' : 'failed'
    }
    if (error instanceof CommandError) {
      console.error(escapeLines(`mongrel2-fetch: ${error.describe()}`))
      return error.ending
    }
    console.error(escapeLines(describeLoadError(error)))
    return 'failed'
  }
}
