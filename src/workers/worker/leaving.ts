import { describeError, type Logger } from '../../runtime/log.ts'

/** A terminal and a service manager signal all processes; it is for the one that has started this to say what follows. */
export function leaveSignalsToParent(): void {
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
}

/** Has a worker process replaced when somebody ends it alone. */
export function leaveOnSigterm(leave: (reason: string) => void): void {
  process.on('SIGTERM', () => leave('it got SIGTERM'))
}

/**
 * Has a worker process replaced after an error that nobody caught, in any of its threads. Each thread has to ask for this: without a
 * listener of its own the error ends it, and its open requests fail.
 *
 * @param leave Told why.
 */
export function leaveAfterUncaughtError(logger: Logger, leave: (reason: string) => void): void {
  // A rejected promise that nobody handles is such an error, too.
  process.on('uncaughtException', (error) => {
    logger.error?.(`mongrel2-fetch: a worker leaves after an error that nobody caught: ${describeError(error)}`)
    leave('of an error that nobody caught')
  })
}
