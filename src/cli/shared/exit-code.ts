import { describeError, type Logger } from '../../runtime/log.ts'

/** What the command ends with; the README and `--help` show this table. */
export const EXIT_CODES = {
  ok: [0, 'closed after a signal, everything that was received is answered'],
  failed: [1, 'an error that nobody caught, or serving could not go on'],
  usage: [2, 'a wrong option, argument or configuration file'],
  load: [3, 'the app is missing, does not load or exports no handler'],
  front: [
    4,
    'the front of `dev`, Mongrel2 or its stand-in, could not be started or ended by itself, or `--http` cannot listen',
  ],
} as const

/** Ended at once by a second signal: 128 and its number, as shells count. */
export const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const

export type Ending = keyof typeof EXIT_CODES

/** Ends the command: its message is for the user, without a stack. */
export class CommandError extends Error {
  readonly ending: Ending

  constructor(ending: Ending, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CommandError'
    this.ending = ending
  }
}

/** Resolves after the first error that nobody caught: the app cannot be relied on any more, but what is open can be answered. */
export function failure(logger: Logger): Promise<'failed'> {
  return new Promise((resolve) => {
    process.on('uncaughtException', (error) => {
      logger.error?.(`mongrel2-fetch ends because of an error that nobody caught: ${describeError(error)}`)
      resolve('failed')
    })
  })
}
