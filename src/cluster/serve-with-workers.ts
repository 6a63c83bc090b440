import { hostname } from 'node:os'
import type { ConnectionState } from '../operations/server-state.ts'
import { closeOnce } from '../options/close.ts'
import { Dispatcher, type DispatcherStatistics } from '../workers/dispatcher/dispatcher.ts'
import { localHost, sharedStartOf, workerStart } from '../workers/dispatcher/worker-child.ts'
import type { WorkersSettings } from '../workers/options.ts'
import { isAny } from './cluster-address.ts'
import { ClusterListener } from './cluster-listener.ts'
import { NodeSession } from './node-session.ts'
import { type ClusterSettings, checkWorkersOptions, type WorkersOptions } from './options.ts'

/** A dispatcher and its worker processes. */
export interface WorkersServer extends AsyncDisposable {
  /**
   * Resolves when every endpoint is pulled from and each worker has loaded the app and can answer. Rejects with a `Mongrel2Error`
   * `closed` if the server is closed first, or `load_failed` if a worker of this machine cannot load the app, which it tries again
   * until `close`; or with Node's error if the cluster's port cannot be opened.
   */
  readonly ready: Promise<void>
  /** The port that nodes connect to, if `cluster` is set, from `ready` on. */
  readonly clusterPort: number | undefined
  /**
   * Replaces every worker: new ones load the app anew and take over, old ones finish what is open and end. Resolves when they have.
   * Workers that cannot load the app are started again, and the old ones stay until one can.
   *
   * @throws Mongrel2Error `load_failed` if one cannot; `closed` after `close`.
   */
  reload(): Promise<void>
  /**
   * Stops pulling, lets the workers answer all that Mongrel2 has sent, then ends them and closes the sockets. A second call returns the
   * first one's promise.
   *
   * @param options.timeout Milliseconds after which open requests are aborted and their connections closed. Default: 10,000.
   */
  close(options?: { timeout?: number }): Promise<void>
  /** The present state, and the counts since the start. */
  stats(): DispatcherStatistics
  /**
   * The metrics of all workers together, in the text format of Prometheus, version 0.0.4, or as OpenMetrics 1.0.
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
 * Serves an app by worker processes: this process pulls from Mongrel2 and deals its messages to them, all of a connection to the same one,
 * and they publish their answers themselves.
 *
 * @throws Mongrel2Error `invalid_option` if an option is wrong.
 */
export function serveWithWorkers(options: WorkersOptions): WorkersServer {
  const settings = checkWorkersOptions(options)
  const { logger } = settings.settings
  const { app, workers, threads, execArgv, cluster } = settings
  const config = { ...sharedStartOf(settings.options, workers, threads, logger), app, remote: false }
  const dispatcher = new Dispatcher(settings, localHost(workerStart(config, execArgv)))
  const main = cluster && openMainNode(cluster, settings, dispatcher)
  let clusterPort: number | undefined
  const close = closeOnce(settings.settings, (timeout) => dispatcher.close(timeout).then(() => main?.close()))
  const ready = Promise.all([dispatcher.ready, main?.opened]).then(([, port]) => {
    clusterPort = port
  })
  ready.catch(() => {}) // it may have no listener
  return {
    ready,
    get clusterPort() {
      return clusterPort
    },
    reload: () => dispatcher.pool.reload(),
    close,
    stats: () => dispatcher.stats(),
    connections: () => dispatcher.connections(),
    metrics: ({ openMetrics = false } = {}) => dispatcher.accounts.metrics(dispatcher.stats(), openMetrics),
    reopenLog: () => dispatcher.accounts.reopen(),
    [Symbol.asyncDispose]: () => close(),
  }
}

/** Listens for nodes and adds them to the dispatcher's pool; `opened` resolves with the port. */
function openMainNode(
  cluster: ClusterSettings,
  settings: WorkersSettings,
  { pool, accounts }: Dispatcher,
): { opened: Promise<number>; close: () => void } {
  const { address, security } = cluster
  const { workers, threads, workersGiven } = settings
  const { logger } = accounts
  const start = { ...sharedStartOf(cluster.options, workers, threads, settings.settings.logger), app: cluster.app }
  const maxMessageSize = Math.max(...settings.settings.endpoints.map((endpoint) => endpoint.maxMessageSize))
  const endpoints = [cluster.options.zeromq].flat().length
  const session = { pool, start, endpoints, maxMessageSize, workers: workersGiven, logger }
  const listener = new ClusterListener(
    address,
    security,
    logger,
    (socket, from) => new NodeSession(socket, from, session).connection,
  )
  const { opened } = listener
  opened.then(
    (port) =>
      logger.info?.(`mongrel2-fetch lets nodes join by: mongrel2-fetch serve --cluster ${joinAddress(cluster, port)}`),
    (error) => logger.error?.(`mongrel2-fetch cannot listen for nodes at ${address.spec}: ${error}`),
  )
  return { opened, close: () => listener.close() }
}

/** The address for nodes, with this machine's name if it listens at all of its addresses. */
function joinAddress({ address, security }: ClusterSettings, port: number): string {
  const host = isAny(address.host) ? hostname() : address.host
  return `tcp://${security === undefined ? '' : `${security.keys.publicKey}@`}${host.includes(':') ? `[${host}]` : host}:${port}`
}
