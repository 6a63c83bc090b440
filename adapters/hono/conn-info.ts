import { isIP } from 'node:net'
import type { ConnInfo, GetConnInfo } from 'hono/conninfo'
import { messageInfoOf } from './middleware.ts'

/** What an app on @hono/node-server finds in `c.env`, as far as it matters here. */
interface NodeBindings {
  readonly incoming: { readonly socket: { readonly remoteAddress?: string; readonly remotePort?: number } }
}

/**
 * The client's address by Hono's interface, behind Mongrel2, which does not tell the port, and on an HTTP socket of Node's
 * (`serveNode`, `@hono/node-server`).
 *
 * @throws Error when the app runs on another server.
 * @see https://hono.dev/docs/helpers/conninfo
 */
export const getConnInfo: GetConnInfo = (c) => {
  const info = messageInfoOf(c)
  if (info !== undefined) return connInfo(info.remoteAddress)
  const { incoming } = (c.env ?? {}) as Partial<NodeBindings>
  if (incoming !== undefined) return connInfo(incoming.socket.remoteAddress, incoming.socket.remotePort)
  throw new Error(
    'expected a request from Mongrel2 or Node: getConnInfo of mongrel2-fetch/hono works behind serveMongrel2() and serveNode() only',
  )
}

function connInfo(address: string | undefined, port?: number): ConnInfo {
  const version = isIP(address ?? '')
  return {
    remote: {
      ...(address === undefined ? {} : { address }), // a socket that is closed has none
      ...(port === undefined ? {} : { port }),
      ...(version === 0 ? {} : { addressType: version === 6 ? ('IPv6' as const) : ('IPv4' as const) }),
      transport: 'tcp',
    },
  }
}
