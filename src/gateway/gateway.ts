import type { AddressInfo } from 'node:net'
import { ThrottledWarning } from '../runtime/log.ts'
import { CgiServer } from './cgi/cgi-server.ts'
import type { Codec } from './cgi/codec.ts'
import { FastCgiCodec } from './cgi/fastcgi.ts'
import { ScgiCodec } from './cgi/scgi.ts'
import { UwsgiCodec } from './cgi/uwsgi.ts'
import { type Certificate, type CertificateFiles, readCertificate } from './http/certificate.ts'
import { HttpServer } from './http/http-server.ts'
import { addressText, type ListenAt, listen } from './listen.ts'
import { type GatewaySettings, type Places, PROTOCOLS, type RouterSettings } from './options.ts'
import type { ProtocolServer } from './protocol-server.ts'
import { Router } from './router.ts'

export type Protocol = keyof Places

type CreateServer = (router: Router, settings: GatewaySettings, certificate: Certificate | undefined) => ProtocolServer

/** How the server of each protocol is made. */
const SERVERS: Readonly<Record<Protocol, CreateServer>> = {
  http: (router, settings, certificate) => new HttpServer(router, settings, certificate),
  uwsgi: cgi('uwsgi', ({ bufferSize }) => new UwsgiCodec(bufferSize)),
  fastcgi: cgi('fastcgi', ({ bufferSize, maxConnections }) => new FastCgiCodec(bufferSize, maxConnections)),
  scgi: cgi('scgi', ({ bufferSize }) => new ScgiCodec(bufferSize)),
}

function cgi(name: Protocol, createCodec: (settings: GatewaySettings) => Codec): CreateServer {
  return (router, settings) => new CgiServer(name, () => createCodec(settings), router, settings)
}

/** A place where clients connect. */
export interface GatewayAddress {
  readonly protocol: Protocol
  /** `HOST:PORT` or the path of a socket in the file system. */
  readonly at: string
  /** Undefined for a socket in the file system. */
  readonly address: AddressInfo | undefined
}

/** Counters of a gateway. */
export interface GatewayStatistics {
  /** Connections of clients that are open. */
  readonly connections: number
  /** Requests by uwsgi, FastCGI and SCGI that were malformed, since the start: each has ended its connection. */
  readonly malformed: number
}

/** Servers of several protocols, which pass requests to the Handlers of one router. */
export class Gateway {
  readonly addresses: GatewayAddress[] = []
  readonly #router: Router
  readonly #settings: GatewaySettings
  readonly #files: CertificateFiles | undefined
  readonly #servers: ProtocolServer[] = []
  #closed: Promise<unknown> | undefined

  private constructor(router: Router, settings: GatewaySettings, files: CertificateFiles | undefined) {
    this.#router = router
    this.#settings = settings
    this.#files = files
  }

  /**
   * Binds the Handlers' sockets, then listens for clients; throws errors of Node and ZeroMQ, such as `EADDRINUSE`, and those of
   * `readCertificate`.
   *
   * @param files The certificate with which HTTP speaks TLS; undefined for plain HTTP.
   */
  static async start(settings: RouterSettings, places: Partial<Places>, files?: CertificateFiles): Promise<Gateway> {
    const certificate = files && (await readCertificate(files))
    const gateway = new Gateway(await Router.bind(settings), settings, files)
    try {
      for (const protocol of PROTOCOLS) {
        for (const at of places[protocol] ?? []) await gateway.#listen(protocol, at, certificate)
      }
    } catch (error) {
      await gateway.close()
      throw error
    }
    return gateway
  }

  stats(): GatewayStatistics {
    const sum = (of: (server: ProtocolServer) => number) => this.#servers.reduce((total, one) => total + of(one), 0)
    return { connections: sum(({ connections }) => connections), malformed: sum(({ malformed }) => malformed) }
  }

  /** Reads the certificate anew, for new connections; keeps the present one and throws Mongrel2Error if it cannot be used. */
  async renewCertificate(): Promise<void> {
    if (this.#files === undefined) return
    const certificate = await readCertificate(this.#files)
    for (const server of this.#servers) server.renew?.(certificate)
  }

  /** Accepts no more clients, and no more requests on open connections. */
  stop(): void {
    for (const server of this.#servers) server.stop()
  }

  /** Ends every connection at once, as Mongrel2 does when it is stopped, and closes all sockets; resolves when that is done. */
  async close(): Promise<void> {
    this.#closed ??= Promise.all([...this.#servers.map((server) => server.close()), this.#router.close()])
    await this.#closed
  }

  async #listen(protocol: Protocol, at: ListenAt, certificate: Certificate | undefined): Promise<void> {
    const { logger, maxConnections } = this.#settings
    const started = SERVERS[protocol](this.#router, this.#settings, certificate)
    this.#servers.push(started)
    const { server } = started
    const full = new ThrottledWarning(logger)
    server.maxConnections = maxConnections
    server.on('drop', () => {
      full.say(() => `mongrel2-fetch front: refused a connection, since ${maxConnections} are open (maxConnections)`)
    })
    await listen(server, at)
    const address = 'path' in at ? undefined : (server.address() as AddressInfo)
    this.addresses.push({ protocol, at: addressText(server, at), address })
  }
}
