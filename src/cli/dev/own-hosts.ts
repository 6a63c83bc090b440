import { isIP } from 'node:net'
import type { Mongrel2Handler } from '../../exchange/options.ts'
import type { FetchHandler } from '../../platform/handler.ts'

/**
 * Lets a handler answer only for hosts that are this machine's: `localhost`, names below it, addresses, and the one that is named. Any other name may be a
 * stranger's that leads here (DNS rebinding), whose page would read the source on our error pages.
 *
 * @param named The value of `--host`.
 */
export function answerOwnHosts(handler: Mongrel2Handler, named: string | undefined): FetchHandler {
  const own = named === undefined ? undefined : hostOf(`http://${named}/`)
  return (request, env, ctx) => {
    const host = hostOf(request.url)
    if (isLocal(host) || host === own) {
      return typeof handler === 'function' ? handler(request, env, ctx) : handler.fetch(request, env, ctx)
    }
    return new Response(
      `mongrel2-fetch dev does not answer for the host ${host}; to let it, start it with --host ${host}\n`,
      {
        status: 403,
        headers: { 'content-type': 'text/plain; charset=utf-8' },
      },
    )
  }
}

function hostOf(url: string): string {
  return new URL(url).hostname
}

function isLocal(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0
}
