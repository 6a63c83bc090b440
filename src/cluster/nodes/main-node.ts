import { LOG_LEVELS, type Logger } from '../../log.ts'
import { version } from '../../package-version.ts'
import type { Dispatcher } from '../dispatcher.ts'
import type { WorkersSettings } from '../workers-options.ts'
import type { ClusterSettings } from './cluster-options.ts'
import { Door } from './door.ts'
import type { NodeStart } from './node-connection.ts'
import { NodeSession, type NodeSessionOwner } from './node-session.ts'

/** The main node's side of a cluster: lets nodes in, and gives the dispatcher their workers. */
export class MainNode implements NodeSessionOwner {
  readonly version = version
  readonly start: NodeStart
  readonly #workers: number | undefined
  readonly #dispatcher: Dispatcher
  readonly #door: Door
  #port: number | undefined

  constructor(cluster: ClusterSettings, settings: WorkersSettings, dispatcher: Dispatcher, logger: Logger) {
    const { logger: _logger, signal: _signal, identity: _identity, ...options } = cluster.options
    const logLevels = LOG_LEVELS.filter((level) => logger[level] !== undefined)
    this.start = { app: cluster.app, options, threads: settings.threads, logLevels }
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
    this.#port = await this.#door.opened
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

  async close(): Promise<void> {
    await this.#door.close()
  }
}
