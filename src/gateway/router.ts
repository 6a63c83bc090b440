import { describeError } from '../runtime/log.ts'
import { MalformedError } from '../wire/malformed.ts'
import type { ParsedReply } from '../wire/reply.ts'
import { Connection, type ConnectionSettings, type Route, refuse } from './connection.ts'
import { Handler, type HandlerSettings } from './handler.ts'
import { splitTarget } from './message-fields.ts'
import type { Answer, GatewayRequest } from './request.ts'

/** A Handler and the beginning of the paths that are its. */
export interface RouteSettings extends HandlerSettings {
  readonly path: string
}

/** What a gateway does, whatever its clients speak. */
export interface RouterSettings extends ConnectionSettings {
  readonly routes: readonly RouteSettings[]
}

/** Mongrel2 counts connections in a C `int`. */
const HIGHEST_ID = 2_147_483_647
/** How often connections are looked for that take too long, in milliseconds. */
const SWEEP_INTERVAL = 500

/** The middle of a gateway: requests on one side, Handlers on the other. */
export class Router {
  readonly #settings: RouterSettings
  /** The longest first, since that one wins. */
  #routes: Route[] = []
  readonly #handlers = new Map<string, Handler>()
  readonly #connections = new Map<number, Connection>()
  readonly #sweeper: NodeJS.Timeout
  #lastId = 0

  private constructor(settings: RouterSettings) {
    this.#settings = settings
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL).unref()
  }

  /**
   * Binds the sockets of every Handler; routes with the same addresses share one.
   *
   * @throws Error of zeromq.js when an address cannot be bound, such as `EADDRINUSE`.
   */
  static async bind(settings: RouterSettings): Promise<Router> {
    const router = new Router(settings)
    try {
      for (const route of settings.routes) await router.#add(route)
    } catch (error) {
      await router.close()
      throw error
    }
    router.#routes.sort((a, b) => b.pattern.length - a.pattern.length)
    return router
  }

  /** Has a request answered; undefined where no Handler gets it and it has been answered already. */
  open(request: GatewayRequest, answer: Answer): Connection | undefined {
    const target = splitTarget(request.target)
    const route = this.#match(target.path)
    if (route === undefined || target.path === '') {
      refuse(answer, target.path === '' ? 400 : 404, false)
      return undefined
    }
    const closed = ({ id }: Connection) => this.#connections.delete(id)
    const connection = new Connection(this.#nextId(), request, answer, { route, target, closed }, this.#settings)
    this.#connections.set(connection.id, connection)
    connection.run().catch((error: unknown) => {
      if (error instanceof MalformedError) return connection.refuse(400, true)
      this.#settings.logger.error?.(`mongrel2-fetch front: a request failed: ${describeError(error)}`)
      connection.refuse(500, false)
    })
    return connection
  }

  /** Ends every connection at once, as Mongrel2 does when it is stopped, and closes the sockets. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper)
    for (const connection of [...this.#connections.values()]) connection.kill()
    await Promise.all([...this.#handlers.values()].map((handler) => handler.close()))
  }

  async #add(route: RouteSettings): Promise<void> {
    const addresses = `${route.sendSpec},${route.recvSpec}`
    const handler = this.#handlers.get(addresses) ?? (await this.#bind(route))
    this.#handlers.set(addresses, handler)
    this.#routes.push({ pattern: route.path, handler })
  }

  async #bind(settings: HandlerSettings): Promise<Handler> {
    const handler: Handler = await Handler.bind(settings, this.#settings.logger, (reply) => this.#take(reply, handler))
    return handler
  }

  #match(path: string): Route | undefined {
    return this.#routes.find(({ pattern }) => path.startsWith(pattern))
  }

  #nextId(): number {
    do this.#lastId = this.#lastId === HIGHEST_ID ? 1 : this.#lastId + 1
    while (this.#connections.has(this.#lastId))
    return this.#lastId
  }

  /** A reply to a connection that is gone comes back as a notice, but not one that would only have ended it. */
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
    for (const connection of [...this.#connections.values()]) connection.expire(now)
  }
}
