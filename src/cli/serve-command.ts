import { relative } from 'node:path'
import { describeError, type Logger } from '../log.ts'
import type { EndpointInput } from '../options.ts'
import type { Ending } from './exit-code.ts'
import type { GivenOptions } from './given.ts'
import { serveModule } from './serve-module.ts'
import { notifyServiceManager } from './service-manager.ts'
import { type CommandSettings, settingsOf } from './settings.ts'
import { stopSignal } from './stop-signals.ts'
import { version } from './version.ts'

/** `mongrel2-fetch serve`: from the first line to the last, and how it ended. */
export async function serveCommand(flags: GivenOptions): Promise<Ending> {
  const settings = await settingsOf(flags)
  const { logger, closeTimeout } = settings
  const app = relative(process.cwd(), settings.app)
  const stopped = stopSignal()
  const failed = failure(logger)
  logger.info?.(`mongrel2-fetch ${version} on Node ${process.versions.node} starts ${app}, process ${process.pid}`)

  const server = await Promise.race([serveModule(settings), stopped, failed])
  if (typeof server !== 'object') return server === 'failed' ? 'failed' : 'ok'
  // A link that fails for good has logged why.
  let came = await Promise.race([
    server.ready.then(
      () => 'ready',
      () => 'failed',
    ),
    stopped,
    failed,
  ])
  if (came === 'ready') {
    await announce()
    came = await Promise.race([stopped, failed])
  }
  if (came !== 'failed')
    logger.info?.(`mongrel2-fetch got ${came}: answers what is open, for ${closeTimeout} ms at most`)
  await notifyServiceManager(logger, 'STOPPING=1', 'STATUS=Answers what is open')
  await server.close({ timeout: closeTimeout })
  logger.info?.(`mongrel2-fetch ended ${app} after ${server.stats().requests} requests`)
  return came === 'failed' ? 'failed' : 'ok'

  async function announce(): Promise<void> {
    const endpoints = endpointsOf(settings)
    console.log(`mongrel2-fetch serves ${app} at ${endpoints}`)
    await notifyServiceManager(logger, 'READY=1', `STATUS=Serves ${app} at ${endpoints}`)
  }
}

/** Resolves after the first error that nobody caught: the app cannot be relied on any more, but what is open can be answered. */
function failure(logger: Logger): Promise<'failed'> {
  return new Promise((resolve) => {
    process.on('uncaughtException', (error) => {
      logger.error?.(`mongrel2-fetch ends because of an error that nobody caught: ${describeError(error)}`)
      resolve('failed')
    })
  })
}

function endpointsOf({ options }: CommandSettings): string {
  const inputs: readonly EndpointInput[] = [options.zeromq].flat()
  return inputs
    .map((input) => (typeof input === 'string' ? input : `${input.sendSpec},${input.recvSpec}`))
    .join(' and ')
}
