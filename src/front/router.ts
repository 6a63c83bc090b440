import type { Duplex } from 'node:stream'
import { describeError, type Logger } from '../log.ts'
import type { ParsedReply } from '../wire/parse-reply.ts'
import { Client, type ClientOrigin, type ClientSettings, type Route } from './client.ts'
import { Handler, type HandlerSettings } from './handler.ts'

/** A Handler and the beginning of the paths that are its. */
export interface RouteSettings extends HandlerSettings {
  readonly path: string
}

/** What a front does, wherever its clients come from. */
export interface RouterSettings extends ClientSettings {
  readonly routes: readonly RouteSettings[]
  readonly logger: Logger
}

/** Mongrel2's middle: clients on one side, Handlers on the other, and between them who belongs to whom. */
export class Router {
  readonly #settings: RouterSettings
  /** The longest first, since that one wins. */
  #routes: Route[] = []
  readonly #handlers = new Map<string, Handler>()
  readonly #clients = new Map<number, Client>()
  /** Clients that are sent nothing more, and may not have read what they were sent. */
  readonly #lingering = new Set<Client>()
  #lastId = 0

  private constructor(settings: RouterSettings) {
    this.#settings = settings
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

  /** Serves a client on a stream until either is done. */
  admit(stream: Duplex, origin: ClientOrigin): void {
    const id = ++this.#lastId
    const client = new Client(id, stream, origin, this.#settings, (path) => this.#match(path))
    this.#clients.set(id, client)
    this.#serve(client).catch((error: unknown) => {
      this.#settings.logger.error?.(`mongrel2-fetch front: a connection failed: ${describeError(error)}`)
      client.kill()
    })
  }

  /** Ends every connection at once, as Mongrel2 does when it is stopped, and closes the sockets. */
  async close(): Promise<void> {
    for (const client of [...this.#clients.values(), ...this.#lingering]) client.kill()
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

  async #serve(client: Client): Promise<void> {
    await client.run()
    this.#clients.delete(client.id)
    this.#lingering.add(client)
    await client.linger()
    this.#lingering.delete(client)
  }

  /** A reply to a client that is gone comes back as a notice, but not one that would only have ended it. */
  #take({ connectionIds, content }: ParsedReply, handler: Handler): void {
    const cancels = 'control' in content && 'cancel' in content.control
    for (const id of connectionIds) {
      const taken = this.#clients.get(id)?.take(content) ?? false
      if (!taken && !cancels) handler.notifyLeave(id)
    }
  }
}
