import type { AddressInfo } from 'node:net'
import { type GatewayAddress, type GatewayStatistics, Gateway as Servers } from './gateway.ts'
import {
  certificateFiles,
  checkFrontOptions,
  checkGatewayOptions,
  type FrontOptions,
  type GatewayOptions,
} from './options.ts'

export type { GatewayAddress, GatewayStatistics } from './gateway.ts'
export type { FrontOptions, FrontRoute, FrontSettings, GatewayOptions, TlsOptions } from './options.ts'

/** A running gateway. */
export interface Gateway extends AsyncDisposable {
  /** Where it listens, by protocol. */
  readonly addresses: readonly GatewayAddress[]
  /** Counters since the start, and the present state. */
  stats(): GatewayStatistics
  /**
   * Reads `tlsCert` and `tlsKey` anew, for new connections.
   *
   * @throws Mongrel2Error `invalid_option` when they cannot be used; then the present certificate stays.
   */
  renewCertificate(): Promise<void>
  /** Accepts no more clients, and no more requests on open connections. */
  stop(): void
  /** Ends every connection at once, as Mongrel2 does when it is stopped, and closes all sockets; resolves when that is done. */
  close(): Promise<void>
}

/**
 * Starts a gateway: it accepts requests by several protocols and sends them to handlers over ZeroMQ, in Mongrel2's own messages.
 *
 * @throws Mongrel2Error `invalid_option` for a wrong option; the errors of Node and ZeroMQ when an address cannot be bound,
 * such as `EADDRINUSE`.
 *
 * @example
 * ```ts
 * import { serveMongrel2 } from 'mongrel2-fetch'
 * import { createGateway } from 'mongrel2-fetch/gateway'
 *
 * const endpoint = { sendSpec: 'ipc:///run/app/send', recvSpec: 'ipc:///run/app/recv' }
 * await createGateway({ http: '127.0.0.1:8080', routes: [{ path: '/', ...endpoint }] })
 * serveMongrel2(() => new Response('Hello'), { zeromq: endpoint })
 * ```
 */
export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const settings = checkGatewayOptions(options)
  const gateway = await Servers.start(settings, settings, certificateFiles(settings.tlsCert, settings.tlsKey))
  const close = () => gateway.close()
  return {
    addresses: gateway.addresses,
    stats: () => gateway.stats(),
    renewCertificate: () => gateway.renewCertificate(),
    stop: () => gateway.stop(),
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** A running embedded front. */
export interface Front extends AsyncDisposable {
  /** The address that it listens at. */
  readonly address: AddressInfo
  /** As that of `Gateway`. */
  renewCertificate(): Promise<void>
  /** Ends every connection at once, as Mongrel2 does when it is stopped, and closes all sockets; resolves when that is done. */
  close(): Promise<void>
}

/**
 * Starts an embedded stand-in for Mongrel2, for development and for tests: it accepts HTTP requests and WebSockets and sends
 * them to handlers over ZeroMQ, in Mongrel2's own messages. It logs that it is not Mongrel2.
 *
 * @throws Mongrel2Error `invalid_option` for a wrong option; the errors of Node and ZeroMQ when an address cannot be bound,
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
  const files = certificateFiles(settings.tlsCert, settings.tlsKey)
  const gateway = await Servers.start(settings, { http: [settings] }, files)
  const address = gateway.addresses[0]?.address as AddressInfo
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
  settings.logger.warn?.(
    `mongrel2-fetch front at http${files === undefined ? '' : 's'}://${host}:${address.port}/: this is the embedded stand-in for development, not Mongrel2`,
  )
  const close = () => gateway.close()
  return { address, renewCertificate: () => gateway.renewCertificate(), close, [Symbol.asyncDispose]: close }
}
