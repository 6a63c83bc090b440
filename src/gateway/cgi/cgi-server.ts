import { createServer, type Server } from 'node:net'
import { ThrottledWarning } from '../../runtime/log.ts'
import { Registry } from '../../runtime/registry.ts'
import type { GatewaySettings } from '../options.ts'
import { closeServer, type ProtocolServer } from '../protocol-server.ts'
import type { Router } from '../router.ts'
import { CgiClient, type ClientContext } from './cgi-client.ts'
import type { Codec } from './codec.ts'

/** Milliseconds between two searches for connections that take too long. */
const SWEEP_INTERVAL = 500

/** Serves front servers in a protocol that carries CGI's variables. */
export class CgiServer implements ProtocolServer {
  readonly server: Server
  readonly #clients = new Registry<CgiClient>()
  readonly #sweeper: NodeJS.Timeout
  malformed = 0
  #stopping = false

  /** @param createCodec Makes the codec of a connection. */
  constructor(name: string, createCodec: () => Codec, router: Router, settings: GatewaySettings) {
    const warning = new ThrottledWarning(settings.logger)
    const context: ClientContext = {
      router,
      settings,
      stopping: () => this.#stopping,
      reportFault: (reason) => {
        this.malformed++
        warning.say(() => `mongrel2-fetch ${name}: closed a connection, since a request was malformed: ${reason}`)
      },
    }
    this.server = createServer({ noDelay: true }, (socket) => {
      socket.on('close', this.#clients.add(new CgiClient(socket, createCodec(), context)))
    })
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL).unref()
  }

  get connections(): number {
    return this.#clients.size
  }

  stop(): void {
    this.#stopping = true
    this.server.close()
    for (const client of this.#clients.values()) client.stop()
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper)
    const closed = closeServer(this.server)
    for (const client of this.#clients.values()) client.destroy()
    await closed
  }

  #sweep(): void {
    const now = performance.now()
    for (const client of this.#clients.values()) client.expire(now)
  }
}
