import { describeError, type Logger } from '../log.ts'

/** Resolves after the first error that nobody caught: the app cannot be relied on any more, but what is open can be answered. */
export function failure(logger: Logger): Promise<'failed'> {
  return new Promise((resolve) => {
    process.on('uncaughtException', (error) => {
      logger.error?.(`mongrel2-fetch ends because of an error that nobody caught: ${describeError(error)}`)
      resolve('failed')
    })
  })
}
