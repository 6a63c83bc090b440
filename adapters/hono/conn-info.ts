import { isIP } from 'node:net'
import type { GetConnInfo } from 'hono/conninfo'
import { messageInfoOf } from './middleware.ts'

/**
 * The client's address by Hono's interface. Mongrel2 does not tell the port.
 *
 * @throws Error when the app does not run behind Mongrel2.
 * @see https://hono.dev/docs/helpers/conninfo
 */
export const getConnInfo: GetConnInfo = (c) => {
  const info = messageInfoOf(c)
  if (info === undefined) {
    throw new Error(
      'expected a request from Mongrel2: getConnInfo of mongrel2-fetch/hono works behind serveMongrel2() only',
    )
  }
  const version = isIP(info.remoteAddress)
  return {
    remote: {
      address: info.remoteAddress,
      ...(version === 0 ? {} : { addressType: version === 6 ? ('IPv6' as const) : ('IPv4' as const) }),
      transport: 'tcp',
    },
  }
}
