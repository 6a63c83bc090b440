import { AsyncLocalStorage } from 'node:async_hooks'
import type { FetchHandler } from '../../platform/handler.ts'

/** The bodies by which frameworks answer after an error that the app does not handle: Hono's and h3's. */
const BARE_BODIES = [/^Internal Server Error$/, /^\{\s*"status":\s*500,\s*"unhandled":\s*true/]

/** The last error that was logged during a request. */
interface Logged {
  error?: Error | undefined
}

const requests = new AsyncLocalStorage<Logged>()

/**
 * Wraps a handler: an error that its framework only logs, and answers by a bare 500, is answered by `show`. The app need not be known, so it
 * works for apps behind functions and within others. For `dev` alone, since it replaces `console.error`.
 */
export function showSwallowedErrors(
  fetch: FetchHandler,
  show: (error: Error, request: Request) => Promise<Response>,
): FetchHandler {
  watchConsole()
  return (request, env, ctx) =>
    requests.run({}, async () => {
      const response = await fetch(request, env, ctx)
      const logged = requests.getStore()
      const error = logged?.error
      if (logged === undefined || error === undefined || response.status !== 500) return response
      const body = await response.clone().text()
      if (!BARE_BODIES.some((bare) => bare.test(body))) return response
      logged.error = undefined
      return await show(error, request)
    })
}

/** Notes each error that is logged alone during a request; it is printed as usual unless it is shown at once. */
function watchConsole(): void {
  const print = console.error
  console.error = (...values: unknown[]) => {
    const [error] = values
    const logged = requests.getStore()
    if (logged === undefined || values.length !== 1 || !(error instanceof Error)) return print(...values)
    logged.error = error
    setImmediate(() => {
      if (logged.error === error) print(error)
    })
  }
}
