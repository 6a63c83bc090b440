import { isIP } from 'node:net'
import type { ConnInfo, GetConnInfo } from 'hono/conninfo'
import { messageInfoOf } from './middleware.ts'

/** The part of `c.env` on @hono/node-server that is used here. */
interface NodeBindings {
  readonly incoming: { readonly socket: { readonly remoteAddress?: string; readonly remotePort?: number } }
}

/**
 * The client's address by Hono's interface: behind Mongrel2, without the port, and on Node's HTTP server (`serveNode`, `@hono/node-server`).
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
      ...(address === undefined ? {} : { address }), // a closed socket has none
      ...(port === undefined ? {} : { port }),
      ...(version === 0 ? {} : { addressType: version === 6 ? ('IPv6' as const) : ('IPv4' as const) }),
      transport: 'tcp',
    },
  }
}
