import type { TopicData } from './connection/shared-message.ts'
import { AppServer } from './exchange/app-server.ts'
import type { Mongrel2Statistics } from './exchange/application.ts'
import { checkOptions, type Mongrel2Handler, type Mongrel2Options, type Settings } from './exchange/options.ts'
import { ControlPort, type ControlPortAddress } from './link/control-port.ts'
import { type BeginEpoch, Link } from './link/link.ts'
import { TRANSPORTS } from './link/transports.ts'
import type { EndpointSettings } from './options/endpoint.ts'
import { checkCloseOptions } from './options/option.ts'
import { replaceGlobals, restoreGlobals } from './platform/globals.ts'
import { Mongrel2Error } from './runtime/errors.ts'
import { describeError } from './runtime/log.ts'
import { type Deferred, deferred, delay, whenAborted } from './runtime/promises.ts'
import { type BroadcastTarget, broadcast } from './topic/broadcast.ts'
import type { BudgetOptions } from './topic/options.ts'

/** How long the clients of WebSockets may take to answer a goodbye, in milliseconds; requests are served meanwhile. */
const FAREWELL = 2000

/** A fetch handler at work behind Mongrel2. */
export interface Mongrel2Server extends AsyncDisposable {
  /**
   * Resolves when every endpoint is served: Mongrel2 has subscribed to our replies and sends us its messages. Waits for a Mongrel2
   * that is not up yet. Rejects with a `Mongrel2Error` `closed` when the server is closed before.
   */
  readonly ready: Promise<void>
  /**
   * Stops: takes leave of the clients of WebSockets with the code 1001, which may take two seconds, reads what Mongrel2 has sent already,
   * takes no more, answers all of it, waits for what handlers gave `waitUntil`, then closes the sockets. A second call returns the first one's promise.
   *
   * @param options.timeout Milliseconds after which what is still open is aborted and its connections are closed. Default: 10,000.
   */
  close(options?: { timeout?: number }): Promise<void>
  /**
   * Sends a message to each of some sockets, rendered once and published in one reply for as many of them as Mongrel2 takes in one.
   * Those that are not open are left out.
   *
   * @param connections WebSockets, what Mongrel2 said of their handshakes (`env.mongrel2`), or message sockets.
   * @param options What happens to those that are too slow.
   * @throws Mongrel2Error `invalid_option` for data that is neither text nor bytes, or a wrong option.
   */
  broadcast(connections: Iterable<BroadcastTarget>, data: TopicData, options?: BudgetOptions): void
  /** What has been counted since the start. */
  stats(): Mongrel2Statistics
}

/**
 * Serves a fetch handler behind Mongrel2.
 *
 * @param handler `(request, env, ctx) => Response | Promise<Response>`, or an object with such a `fetch`.
 * @throws Mongrel2Error `invalid_option` when an option is wrong.
 *
 * @example
 * ```ts
 * import { Hono } from 'hono'
 * import { serveMongrel2 } from 'mongrel2-fetch'
 *
 * const app = new Hono().get('/', (c) => c.text('Hello'))
 * const server = serveMongrel2(app, { zeromq: 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998' })
 * await server.ready
 * ```
 */
export function serveMongrel2(handler: Mongrel2Handler, options: Mongrel2Options): Mongrel2Server {
  return new Server(checkOptions(handler, options))
}

class Server implements Mongrel2Server {
  readonly ready: Promise<void>
  readonly #overridden: boolean
  readonly #app: AppServer<EndpointSettings>
  readonly #links: readonly Link[]
  readonly #ready: Deferred<void> = deferred()
  #closed: Promise<void> | undefined

  constructor(settings: Settings) {
    const { endpoints, overrideGlobalObjects, signal, logger } = settings
    this.ready = this.#ready.promise
    this.#overridden = overrideGlobalObjects
    if (overrideGlobalObjects) replaceGlobals()
    this.#app = new AppServer(settings)
    const missing = new Set(endpoints)
    this.#links = endpoints.map((endpoint) => {
      const link = this.#createLink(endpoint, settings)
      const found = () => {
        if (missing.delete(endpoint) && missing.size === 0) this.#ready.resolve()
      }
      link.run(found).catch((error: unknown) => {
        const { sendSpec, recvSpec } = endpoint
        logger.error?.(`mongrel2-fetch stopped serving ${sendSpec},${recvSpec}: ${describeError(error)}`)
        this.#ready.reject(error)
      })
      return link
    })
    whenAborted(signal, () => {
      this.close().catch((error: unknown) => logger.error?.(`mongrel2-fetch: closing failed: ${describeError(error)}`))
    })
  }

  close(options?: { timeout?: number }): Promise<void> {
    const timeout = checkCloseOptions(options)
    this.#closed ??= this.#close(timeout)
    return this.#closed
  }

  broadcast(connections: Iterable<BroadcastTarget>, data: TopicData, options?: BudgetOptions): void {
    broadcast(connections, data, options)
  }

  stats(): Mongrel2Statistics {
    return this.#app.stats()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #createLink(endpoint: EndpointSettings, { identity, logger }: Settings): Link {
    const begin: BeginEpoch = (publisher, prefix, socketId, succession) => {
      const left = succession === 'other' ? undefined : this.#app.epochs.get(endpoint)?.left
      const feedback = (address: ControlPortAddress) => new ControlPort(address)
      const epoch = this.#app.begin(endpoint, endpoint, { publisher, prefix, socketId, left, feedback })
      if (succession === 'same') epoch.closeLeft()
      return epoch
    }
    return new Link(endpoint, TRANSPORTS[endpoint.link], identity, logger, begin)
  }

  async #close(timeout: number): Promise<void> {
    const late = delay(timeout)
    this.#ready.reject(new Mongrel2Error('closed', 'the server was closed before Mongrel2 was found at every endpoint'))
    await this.#app.goAway(Math.min(timeout, FAREWELL), late)
    await Promise.all(this.#links.map((link) => link.stop()))
    await this.#app.answerAll(late)
    await Promise.all(this.#links.map((link) => link.close()))
    if (this.#overridden) restoreGlobals()
  }
}
