import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { checkFrontOptions, type FrontOptions } from './options.ts'
import { Router } from './router.ts'

/** An embedded front at work. */
export interface Front extends AsyncDisposable {
  /** Where it listens. */
  readonly address: AddressInfo
  /** Ends every connection at once, as Mongrel2 does when it is stopped, and closes all sockets; resolves when that is done. */
  close(): Promise<void>
}

/**
 * Starts an embedded stand-in for Mongrel2, for development and for tests: it takes HTTP requests and WebSockets and hands
 * them to handlers over ZeroMQ, in Mongrel2's own messages. It says in the log that it is not Mongrel2.
 *
 * @throws Mongrel2Error `invalid_option` when an option is wrong; the errors of Node and ZeroMQ when an address cannot be had,
 * such as `EADDRINUSE`.
 *
 * @example
 * ```ts
 * import { serveMongrel2 } from 'mongrel2-fetch'
 * import { createFront } from 'mongrel2-fetch/front'
 *
 * const endpoint = { sendSpec: 'tcp://127.0.0.1:9999', recvSpec: 'tcp://127.0.0.1:9998' }
 * const front = await createFront({ port: 6767, routes: [{ path: '/', ...endpoint }] })
 * serveMongrel2(() => new Response('Hello'), { zeromq: endpoint })
 * ```
 */
export async function createFront(options: FrontOptions): Promise<Front> {
  const settings = checkFrontOptions(options)
  const router = await Router.bind(settings)
  // A client that ends its side is gone for Mongrel2; the router ends the other.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    router.admit(socket, { remoteAddress: plainAddress(socket.remoteAddress), scheme: 'http' })
  })
  try {
    await once(server.listen(settings.port, settings.host), 'listening')
  } catch (error) {
    await router.close()
    throw error
  }
  const address = server.address() as AddressInfo
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
  settings.logger.warn?.(
    `mongrel2-fetch front at http://${host}:${address.port}/: this is the embedded stand-in for development, not Mongrel2`,
  )
  let closed: Promise<unknown> | undefined
  const close = async () => {
    closed ??= Promise.all([once(server.close(), 'close'), router.close()])
    await closed
  }
  return { address, close, [Symbol.asyncDispose]: close }
}

/** An IPv4 address as such where a socket for both shows it as one of IPv6. */
function plainAddress(address = ''): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '')
}
