// The process of an app under `mongrel2-fetch dev`, told what to do by the `AppProcess` that has forked it.

import { setTimeout as sleep } from 'node:timers/promises'
import { replaceGlobalsFirst } from '../../platform/globals.ts'
import { describeError, describeLoadError, surviveLostOutput } from '../../runtime/log.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { serveMongrel2 } from '../../serve.ts'
import type { LoadedApp } from '../../workers/worker/config.ts'
import { loadHandler } from '../modules/load-handler.ts'
import type { OptionSources } from '../options/command-options.ts'
import { type CommandSettings, settingsOf } from '../options/settings.ts'
import { tellParent } from '../shared/tell-parent.ts'
import type { AppCommand, AppReport } from './app-process.ts'
import { errorPage } from './error-page.ts'
import { answerOwnHosts } from './own-hosts.ts'

/** How often it is looked whether everything has arrived, in milliseconds. */
const POLL_TIME = 5

const tell = tellParent<AppReport>
/** Resolves with how many messages are to be answered before the end. */
const stopAfter: Deferred<number> = deferred()

process.on('message', (command: AppCommand) => {
  if ('stopAfter' in command) stopAfter.resolve(command.stopAfter)
  else run(new Map(command.flags))
})
process.on('disconnect', () => stopAfter.resolve(0))
surviveLostOutput()
// Ctrl-C reaches everybody at the terminal; the one who has forked us says when to stop.
process.on('SIGINT', () => {})

function run(flags: OptionSources): void {
  serve(flags).then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(describeError(error))
      process.exit(1)
    },
  )
}

async function serve(flags: OptionSources): Promise<void> {
  const settings = await settingsOf('dev', flags)
  const { logger, options, closeTimeout } = settings
  // What nobody caught is shown, and the app goes on: the next change makes a new process.
  process.on('uncaughtException', (error) => logger.error?.(`mongrel2-fetch: nobody caught ${describeError(error)}`))

  if (options.overrideGlobalObjects === true) replaceGlobalsFirst()
  const { handler } = await load(settings)
  const server = serveMongrel2(answerOwnHosts(handler, options.host), {
    onError: (error, request) => {
      logger.error?.(`mongrel2-fetch: ${request.method} ${request.url}: ${describeError(error)}`)
      return errorPage(error, request, 'The handler failed')
    },
    ...options,
  })
  await Promise.race([server.ready.then(() => tell('ready')), stopAfter.promise])
  const sent = await stopAfter.promise
  const deadline = performance.now() + closeTimeout
  while (server.stats().messages < sent && performance.now() < deadline) await sleep(POLL_TIME)
  await server.close({ timeout: Math.max(0, Math.round(deadline - performance.now())) })
  await tell('answered')
}

/** The app's handler, or one that shows why there is none. */
async function load({ app, exportName, logger }: CommandSettings): Promise<Pick<LoadedApp, 'handler'>> {
  try {
    return await loadHandler(app, exportName)
  } catch (error) {
    const reason = error instanceof Error && error.cause !== undefined ? error.cause : error
    logger.error?.(`mongrel2-fetch: ${app} could not be loaded: ${describeLoadError(reason)}`)
    return { handler: (request) => errorPage(reason, request, 'The app could not be loaded') }
  }
}
