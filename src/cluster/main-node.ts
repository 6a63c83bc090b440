import { hostname } from 'node:os'
import type { Logger } from '../runtime/log.ts'
import { version } from '../runtime/versions.ts'
import { sharedStartOf } from '../workers/dispatcher/child-worker.ts'
import type { Dispatcher } from '../workers/dispatcher/dispatcher.ts'
import type { WorkersSettings } from '../workers/options.ts'
import { isAny } from './cluster-address.ts'
import { Door } from './door.ts'
import type { NodeStart } from './node-connection.ts'
import { NodeSession, type NodeSessionOwner } from './node-session.ts'
import type { ClusterSettings } from './options.ts'

/** The main node's side of a cluster: lets nodes in, and gives the dispatcher their workers. */
export class MainNode implements NodeSessionOwner {
  readonly version = version
  readonly start: NodeStart
  readonly maxMessageSize: number
  readonly #cluster: ClusterSettings
  readonly #logger: Logger
  readonly #workers: number | undefined
  readonly #dispatcher: Dispatcher
  readonly #door: Door
  #port: number | undefined

  constructor(cluster: ClusterSettings, settings: WorkersSettings, dispatcher: Dispatcher, logger: Logger) {
    this.start = { ...sharedStartOf(cluster.options, settings.workers, settings.threads, logger), app: cluster.app }
    this.maxMessageSize = Math.max(...settings.settings.endpoints.map((endpoint) => endpoint.maxMessageSize))
    this.#cluster = cluster
    this.#logger = logger
    this.#workers = settings.workersGiven
    this.#dispatcher = dispatcher
    this.#door = new Door(
      cluster.address,
      cluster.security,
      logger,
      (socket, from) => new NodeSession(socket, from, this, logger).connection,
    )
  }

  /** Resolves when nodes can connect; rejects when they never can. */
  async opened(): Promise<void> {
    try {
      this.#port = await this.#door.opened
    } catch (error) {
      this.#logger.error?.(`mongrel2-fetch cannot listen for nodes at ${this.#cluster.address.spec}: ${error}`)
      throw error
    }
    this.#logger.info?.(
      `mongrel2-fetch lets nodes join by: mongrel2-fetch serve --cluster ${this.#joinAddress(this.#port)}`,
    )
  }

  /** What nodes are told; where all addresses of this machine are listened at, its name stands for them. */
  #joinAddress(port: number): string {
    const { address, security } = this.#cluster
    const host = isAny(address.host) ? hostname() : address.host
    return `tcp://${security === undefined ? '' : `${security.keys.publicKey}@`}${host.includes(':') ? `[${host}]` : host}:${port}`
  }

  /** Where they connect to, once they can. */
  get port(): number | undefined {
    return this.#port
  }

  joined(node: NodeSession, processors: number): void {
    this.#dispatcher.addHost(node, this.#workers ?? processors)
  }

  left(node: NodeSession): void {
    this.#dispatcher.retireHost(node)
  }

  lost(node: NodeSession): void {
    this.#dispatcher.removeHost(node)
  }

  close(): void {
    this.#door.close()
  }
}
