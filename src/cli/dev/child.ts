// The process of an app under `mongrel2-fetch dev`; its parent sends the flags and may take it down.

import { replaceGlobals } from '../../exchange/platform/globals.ts'
import { describeError } from '../../log.ts'
import type { Mongrel2Handler } from '../../options.ts'
import { serveMongrel2 } from '../../serve.ts'
import type { Given } from '../given.ts'
import { loadHandler } from '../load-handler.ts'
import type { OptionKey } from '../option-table.ts'
import { type CommandSettings, settingsOf } from '../settings.ts'
import { stopSignal } from '../stop-signals.ts'
import { errorPage } from './error-page.ts'

process.once('message', (flags: [OptionKey, Given][]) => {
  main(flags).then(
    () => process.exit(),
    (error: unknown) => {
      console.error(describeError(error))
      process.exit(1)
    },
  )
})

async function main(flags: [OptionKey, Given][]): Promise<void> {
  const settings = await settingsOf(new Map(flags))
  const { logger, options, closeTimeout } = settings
  const stopped = Promise.race([stopSignal(), new Promise((resolve) => process.on('disconnect', resolve))])
  // What nobody caught is shown, and the app goes on: the next change makes a new process.
  process.on('uncaughtException', (error) => logger.error?.(`mongrel2-fetch: nobody caught ${describeError(error)}`))

  if (options.overrideGlobalObjects === true) replaceGlobals()
  const server = serveMongrel2(await handlerOf(settings), {
    onError: (error, request) => {
      logger.error?.(`mongrel2-fetch: ${request.method} ${request.url}: ${describeError(error)}`)
      return errorPage(error, request, 'The handler failed')
    },
    ...options,
  })
  await Promise.race([server.ready.then(() => process.send?.('ready')), stopped])
  await stopped
  await server.close({ timeout: closeTimeout })
}

/** The app's handler, or one that shows why there is none. */
async function handlerOf({ app, exportName, logger }: CommandSettings): Promise<Mongrel2Handler> {
  try {
    return await loadHandler(app, exportName)
  } catch (error) {
    const reason = error instanceof Error && error.cause !== undefined ? error.cause : error
    logger.error?.(`mongrel2-fetch: ${app} could not be loaded: ${describeError(reason)}`)
    return (request) => errorPage(reason, request, 'The app could not be loaded')
  }
}
