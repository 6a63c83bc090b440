// The module that the worker of `mongrel2-fetch dev` loads.

import { relative } from 'node:path'
import { type FetchHandler, fetchOf } from '../../platform/handler.ts'
import { foreignHost, responseOf } from '../../platform/outcomes.ts'
import { isLocalHost } from '../../runtime/local-host.ts'
import { reportBroken } from '../../workers/worker/parent.ts'
import type { LoadedApp } from '../../workers/worker/worker-config.ts'
import { loadHandler } from '../modules/load-handler.ts'
import type { OptionKey, OptionSource } from '../options/command-options.ts'
import { type CommandSettings, settingsOf } from '../options/settings.ts'
import { loadEnvFiles } from './env-files.ts'
import { errorPage, VERSION_HEADER } from './error-page.ts'
import { asSyntaxError, placesOf, shortDescription } from './error-places.ts'
import { showSwallowedErrors } from './swallowed-errors.ts'

/** The flags; each worker reads the environment and the configuration file, which may change. */
export interface DevAppData {
  /** Variables that are from `.env` files. */
  readonly fromFiles: readonly string[]
  readonly flags: readonly (readonly [OptionKey, OptionSource])[]
}

/** The name of this version of the app. */
const VERSION = crypto.randomUUID()

export default async function load(data: unknown): Promise<LoadedApp> {
  const { flags, fromFiles } = data as DevAppData
  loadEnvFiles(fromFiles)
  const settings = await settingsOf('dev', new Map(flags))
  const { logger, options } = settings
  const show = async (error: unknown, request: Request) => {
    const places = await placesOf(error)
    logger.error?.(`mongrel2-fetch: ${request.method} ${request.url}: ${shortDescription(error, places)}`)
    return await errorPage({ error, places, title: 'The handler failed', version: VERSION }, request)
  }
  const fetch = await fetchOfApp(settings, show)
  return { handler: answerOwnHosts(fetch, options.host), options: { onError: show, ...options } }
}

/** The app's handler, or one that shows why it did not load. */
async function fetchOfApp(
  { app, exportName, logger }: CommandSettings,
  show: (error: unknown, request: Request) => Promise<Response>,
): Promise<FetchHandler> {
  try {
    const { handler } = await loadHandler(app, exportName)
    const fetch = showSwallowedErrors(fetchOf<FetchHandler>(handler), show)
    const headers = { [VERSION_HEADER]: VERSION }
    return (request, ...rest) => (isQuestion(request) ? new Response(null, { headers }) : fetch(request, ...rest))
  } catch (thrown) {
    reportBroken()
    const error = asSyntaxError(thrown instanceof Error && thrown.cause !== undefined ? thrown.cause : thrown)
    const places = await placesOf(error, true)
    logger.error?.(
      `mongrel2-fetch: ${relative(process.cwd(), app)} could not be loaded: ${shortDescription(error, places)}`,
    )
    const failure = { error, places, title: 'The app could not be loaded', version: VERSION }
    return (request) => (isQuestion(request) ? new Response() : errorPage(failure, request))
  }
}

/** Whether an error page asks for the version of the app. */
function isQuestion(request: Request): boolean {
  return request.headers.has(VERSION_HEADER)
}

/**
 * Restricts a handler to `localhost`, names below it, addresses, and the host of `--host`. Any other name may resolve to this machine too (DNS
 * rebinding), and its page could read the source on our error pages.
 */
function answerOwnHosts(fetch: FetchHandler, named: string | undefined): FetchHandler {
  const own = named === undefined ? undefined : new URL(`http://${named}/`).hostname
  return (request, env, ctx) => {
    const host = new URL(request.url).hostname
    if (isLocalHost(host) || host === own) return fetch(request, env, ctx)
    return responseOf(foreignHost(host))
  }
}
