import { describeError, type Logger } from '../../log.ts'

/** A terminal and a service manager signal all processes; it is for the one that has started this to say what follows. */
export function leaveSignalsToParent(): void {
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
}

/**
 * Has a worker process replaced when somebody ends it alone, or nobody has caught an error.
 *
 * @param leave Told why.
 */
export function leaveInDistress(logger: Logger, leave: (reason: string) => void): void {
  process.on('SIGTERM', () => leave('it got SIGTERM'))
  process.on('uncaughtException', (error) => {
    logger.error?.(`mongrel2-fetch: a worker leaves after an error that nobody caught: ${describeError(error)}`)
    leave('of an error that nobody caught')
  })
}
