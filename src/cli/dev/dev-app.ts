// The module that the worker of `mongrel2-fetch dev` loads.

import type { Mongrel2Handler } from '../../exchange/options.ts'
import { type FetchHandler, fetchOf } from '../../platform/handler.ts'
import { foreignHost, responseOf } from '../../platform/outcomes.ts'
import { isLocalHost } from '../../runtime/local-host.ts'
import { describeError, describeLoadError } from '../../runtime/log.ts'
import type { LoadedApp } from '../../workers/worker/worker-config.ts'
import { loadHandler } from '../modules/load-handler.ts'
import type { OptionKey, OptionSource } from '../options/command-options.ts'
import { type CommandSettings, settingsOf } from '../options/settings.ts'
import { errorPage } from './error-page.ts'

/** The flags; each worker reads the environment and the configuration file, which may change. */
export interface DevAppData {
  readonly flags: readonly (readonly [OptionKey, OptionSource])[]
}

export default async function load(data: unknown): Promise<LoadedApp> {
  const settings = await settingsOf('dev', new Map((data as DevAppData).flags))
  const { logger, options } = settings
  return {
    handler: answerOwnHosts(await handlerOf(settings), options.host),
    options: {
      onError: (error, request) => {
        logger.error?.(`mongrel2-fetch: ${request.method} ${request.url}: ${describeError(error)}`)
        return errorPage(error, request, 'The handler failed')
      },
      ...options,
    },
  }
}

/** The app's handler, or one that shows why it did not load; in an array, since itty-router's router looks like a promise. */
async function handlerOf({ app, exportName, logger }: CommandSettings): Promise<[Mongrel2Handler]> {
  try {
    return [(await loadHandler(app, exportName)).handler]
  } catch (error) {
    const reason = error instanceof Error && error.cause !== undefined ? error.cause : error
    logger.error?.(`mongrel2-fetch: ${app} could not be loaded: ${describeLoadError(reason)}`)
    return [(request) => errorPage(reason, request, 'The app could not be loaded')]
  }
}

/**
 * Restricts a handler to `localhost`, names below it, addresses, and the host of `--host`. Any other name may resolve to this machine too (DNS
 * rebinding), and its page could read the source on our error pages.
 */
function answerOwnHosts([handler]: [Mongrel2Handler], named: string | undefined): FetchHandler {
  const fetch = fetchOf<FetchHandler>(handler)
  const own = named === undefined ? undefined : new URL(`http://${named}/`).hostname
  return (request, env, ctx) => {
    const host = new URL(request.url).hostname
    if (isLocalHost(host) || host === own) return fetch(request, env, ctx)
    return responseOf(foreignHost(host))
  }
}
