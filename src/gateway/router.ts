import { badRequest, handlerFailed, noRoute } from '../platform/outcomes.ts'
import { describeError } from '../runtime/log.ts'
import { NumberMap } from '../runtime/number-map.ts'
import { MalformedError } from '../wire/malformed.ts'
import type { ParsedReply } from '../wire/reply.ts'
import { Connection, type Route, refuse } from './connection.ts'
import { Handler } from './handler.ts'
import { splitTarget } from './message-fields.ts'
import type { RouterSettings } from './options.ts'
import type { Answer, GatewayRequest } from './request.ts'

/** Mongrel2 counts connections in a C `int`. */
const HIGHEST_ID = 2_147_483_647
/** Milliseconds between two searches for connections that take too long. */
const SWEEP_INTERVAL = 500

/** Passes requests of clients to Handlers, and their replies back. */
export class Router {
  readonly #settings: RouterSettings
  /** The longest first, since the longest match wins. */
  readonly #routes: Route[] = []
  readonly #handlers = new Map<string, Handler>()
  readonly #connections = new NumberMap<Connection>()
  readonly #closed = ({ id }: Connection): void => void this.#connections.delete(id)
  readonly #sweeper: NodeJS.Timeout
  #lastId = 0

  private constructor(settings: RouterSettings) {
    this.#settings = settings
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL).unref()
  }

  /** Binds the sockets of every Handler; routes with the same addresses share one. Throws ZeroMQ's errors. */
  static async bind(settings: RouterSettings): Promise<Router> {
    const router = new Router(settings)
    try {
      for (const route of settings.routes) {
        const addresses = `${route.sendSpec},${route.recvSpec}`
        const take = (reply: ParsedReply): void => router.#take(reply, handler)
        const handler: Handler = router.#handlers.get(addresses) ?? (await Handler.bind(route, settings.logger, take))
        router.#handlers.set(addresses, handler)
        router.#routes.push({ pattern: route.path, handler })
      }
    } catch (error) {
      await router.close()
      throw error
    }
    router.#routes.sort((a, b) => b.pattern.length - a.pattern.length)
    return router
  }

  /** Passes a request to its Handler; answers it and returns undefined where there is none. */
  open(request: GatewayRequest, answer: Answer): Connection | undefined {
    const target = splitTarget(request.target)
    const route = this.#routes.find(({ pattern }) => target.path.startsWith(pattern))
    if (target.path === '') return refuse(answer, badRequest('The target has no path'), false)
    if (route === undefined) return refuse(answer, noRoute(), false)
    const place = { route, target, closed: this.#closed }
    const connection = new Connection(this.#nextId(), request, answer, place, this.#settings)
    this.#connections.set(connection.id, connection)
    try {
      connection.run()?.catch((error: unknown) => this.#failed(connection, error))
    } catch (error) {
      this.#failed(connection, error)
    }
    return connection
  }

  #failed(connection: Connection, error: unknown): void {
    if (error instanceof MalformedError) return connection.refuse(badRequest(error.message), true)
    this.#settings.logger.error?.(`mongrel2-fetch front: a request failed: ${describeError(error)}`)
    connection.refuse(handlerFailed(), false)
  }

  /** Ends every connection at once, as Mongrel2 does when it is stopped, and closes the sockets. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper)
    for (const connection of this.#connections.values()) connection.kill()
    await Promise.all([...this.#handlers.values()].map((handler) => handler.close()))
  }

  #nextId(): number {
    do this.#lastId = this.#lastId === HIGHEST_ID ? 1 : this.#lastId + 1
    while (this.#connections.has(this.#lastId))
    return this.#lastId
  }

  /** Answers a reply to a closed connection with a disconnect notice, unless the reply would only have closed it. */
  #take({ connectionIds, content }: ParsedReply, handler: Handler): void {
    const cancels = 'control' in content && 'cancel' in content.control
    for (const id of connectionIds) {
      const connection = this.#connections.get(id)
      if (connection !== undefined) connection.take(content)
      else if (!cancels) handler.notifyLeave(id)
    }
  }

  #sweep(): void {
    const now = performance.now()
    for (const connection of this.#connections.values()) connection.expire(now)
  }
}
