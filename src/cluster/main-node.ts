import { hostname } from 'node:os'
import type { Dispatcher } from '../workers/dispatcher/dispatcher.ts'
import { sharedStartOf } from '../workers/dispatcher/worker-child.ts'
import type { WorkersSettings } from '../workers/options.ts'
import { isAny } from './cluster-address.ts'
import { ClusterListener } from './cluster-listener.ts'
import { NodeSession } from './node-session.ts'
import type { ClusterSettings } from './options.ts'

/** The main node's side of a cluster. */
interface MainNode {
  /** Resolves with the port when nodes can connect; rejects when they never can. */
  readonly opened: Promise<number>
  close(): void
}

/**
 * Lets nodes in, and gives the dispatcher their workers.
 *
 * @param dispatcher Called when a node has joined: it is made after this, which may fail.
 */
export function openMainNode(
  cluster: ClusterSettings,
  settings: WorkersSettings,
  dispatcher: () => Dispatcher,
): MainNode {
  const { address, security } = cluster
  const { workers, threads, workersGiven } = settings
  const { logger } = settings.settings
  const start = { ...sharedStartOf(cluster.options, workers, threads, logger), app: cluster.app }
  const maxMessageSize = Math.max(...settings.settings.endpoints.map((endpoint) => endpoint.maxMessageSize))
  const session = { dispatcher, start, maxMessageSize, workers: workersGiven, logger }
  const listener = new ClusterListener(
    address,
    security,
    logger,
    (socket, from) => new NodeSession(socket, from, session).connection,
  )
  const open = async () => {
    try {
      const port = await listener.opened
      logger.info?.(`mongrel2-fetch lets nodes join by: mongrel2-fetch serve --cluster ${joinAddress(cluster, port)}`)
      return port
    } catch (error) {
      logger.error?.(`mongrel2-fetch cannot listen for nodes at ${address.spec}: ${error}`)
      throw error
    }
  }
  return { opened: open(), close: () => listener.close() }
}

/** What nodes are told; where all addresses of this machine are listened at, its name stands for them. */
function joinAddress({ address, security }: ClusterSettings, port: number): string {
  const host = isAny(address.host) ? hostname() : address.host
  return `tcp://${security === undefined ? '' : `${security.keys.publicKey}@`}${host.includes(':') ? `[${host}]` : host}:${port}`
}
