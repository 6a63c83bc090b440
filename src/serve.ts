import type { TopicData } from './connection/shared-message.ts'
import { AppServer } from './exchange/app-server.ts'
import type { Mongrel2Statistics } from './exchange/application.ts'
import { checkOptions, type Mongrel2Handler, type Mongrel2Options, type Settings } from './exchange/options.ts'
import { ControlPort, type ControlPortAddress } from './link/control-port.ts'
import { type BeginEpoch, Link } from './link/link.ts'
import { transportOf } from './link/transports.ts'
import { RequestAccounts } from './operations/request-accounts.ts'
import type { RequestSink } from './operations/request-entry.ts'
import type { ConnectionState } from './operations/server-state.ts'
import { closeOnce } from './options/close.ts'
import type { EndpointSettings } from './options/endpoint.ts'
import { replaceGlobals, restoreGlobals } from './platform/globals.ts'
import { Mongrel2Error } from './runtime/errors.ts'
import { describeError } from './runtime/log.ts'
import { deferred, delay } from './runtime/promises.ts'
import { type BroadcastTarget, broadcast } from './topic/broadcast.ts'
import type { BudgetOptions } from './topic/options.ts'

/** Time for the clients of WebSockets to answer a close frame, in milliseconds; requests are served meanwhile. */
const FAREWELL = 2000

const feedback = (address: ControlPortAddress) => new ControlPort(address)

/** A running server. */
export interface Mongrel2Server extends AsyncDisposable {
  /**
   * Resolves when every endpoint is served: Mongrel2 has subscribed to the replies and sends its messages. Waits for a Mongrel2 that is not
   * up yet. Rejects with a `Mongrel2Error` `closed` when the server is closed before.
   */
  readonly ready: Promise<void>
  /**
   * Stops: closes WebSockets with the code 1001, which may take two seconds, stops pulling, answers every request that has come, waits for the
   * tasks of `waitUntil`, then closes the sockets. A second call returns the promise of the first.
   *
   * @param options.timeout Milliseconds after which open requests are aborted and their connections closed. Default: 10,000.
   */
  close(options?: { timeout?: number }): Promise<void>
  /**
   * Sends a message to several sockets, rendered once and published in as few replies as Mongrel2 allows. Skips sockets that are not open.
   *
   * @param connections WebSockets, the `env.mongrel2` of their handshakes, or message sockets.
   * @param options What happens to slow clients.
   * @throws Mongrel2Error `invalid_option` for data that is neither text nor bytes, or a wrong option.
   */
  broadcast(connections: Iterable<BroadcastTarget>, data: TopicData, options?: BudgetOptions): void
  /** The present state, and the counts since the start. */
  stats(): Mongrel2Statistics
  /**
   * The metrics in the text format of Prometheus, version 0.0.4, or as OpenMetrics 1.0.
   *
   * @throws Mongrel2Error `invalid_option` without the option `metrics`.
   */
  metrics(options?: { openMetrics?: boolean }): string
  /** The connections with state, at most the open ones. */
  connections(): ConnectionState[]
  /** Opens the file of `accessLog` anew, after it was moved away. */
  reopenLog(): void
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
  const settings = checkOptions(handler, options)
  const accounts = new RequestAccounts(settings)
  const server = serveSettings({ ...settings, logger: accounts.logger }, accounts)
  const stats = () => ({ ...server.stats(), ...accounts.state })
  return {
    ...server,
    stats,
    metrics: ({ openMetrics = false } = {}) => accounts.metrics(stats(), openMetrics),
    reopenLog: () => accounts.reopen(),
  }
}

/** Serves with checked options. */
export function serveSettings(settings: Settings, sink: RequestSink): Omit<Mongrel2Server, 'metrics' | 'reopenLog'> {
  const { endpoints, identity, overrideGlobalObjects, logger } = settings
  if (overrideGlobalObjects) replaceGlobals()
  const app = new AppServer<EndpointSettings>(settings)
  const ready = deferred()
  const missing = new Set(endpoints)
  const links = endpoints.map((endpoint) => {
    const begin: BeginEpoch = (publisher, prefix, socketId, succession) => {
      const left = succession === 'other' ? undefined : app.epochs.get(endpoint)?.left
      const epoch = app.begin(endpoint, endpoint, {
        publisher,
        prefix,
        socketId,
        left,
        feedback,
        requests: sink.observer,
      })
      if (succession === 'same') epoch.closeLeft()
      return epoch
    }
    const link = new Link(endpoint, transportOf(endpoint), identity, logger, begin)
    const found = () => {
      if (missing.delete(endpoint) && missing.size === 0) ready.resolve()
    }
    link.run(found).catch((error: unknown) => {
      const { sendSpec, recvSpec } = endpoint
      logger.error?.(`mongrel2-fetch stopped serving ${sendSpec},${recvSpec}: ${describeError(error)}`)
      ready.reject(error)
    })
    return link
  })

  const close = closeOnce(settings, end)
  let closing = false
  return {
    ready: ready.promise,
    close,
    broadcast,
    connections: () => app.connections(),
    stats: () => app.stats({ closing, links: links.map(({ state }) => state) }),
    [Symbol.asyncDispose]: () => close(),
  }

  async function end(timeout: number): Promise<void> {
    closing = true
    const late = delay(timeout)
    ready.reject(new Mongrel2Error('closed', 'the server was closed before Mongrel2 was found at every endpoint'))
    await app.goAway(Math.min(timeout, FAREWELL), late)
    await Promise.all(links.map((link) => link.stop()))
    await app.answerAll(late)
    await Promise.all(links.map((link) => link.close()))
    await sink.close()
    if (overrideGlobalObjects) restoreGlobals()
  }
}
