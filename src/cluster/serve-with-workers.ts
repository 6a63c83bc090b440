import { checkCloseOptions } from '../options/option.ts'
import { describeError } from '../runtime/log.ts'
import { whenAborted } from '../runtime/promises.ts'
import { Dispatcher, type DispatcherStatistics } from '../workers/dispatcher/dispatcher.ts'
import { LocalHost, sharedStartOf, workerStart } from '../workers/dispatcher/worker-child.ts'
import { openMainNode } from './main-node.ts'
import { checkWorkersOptions, type WorkersOptions } from './options.ts'

/** Worker processes at work behind Mongrel2. */
export interface WorkersServer extends AsyncDisposable {
  /**
   * Resolves when every endpoint is pulled from and each worker has loaded the app and can answer. Rejects with a `Mongrel2Error`
   * `closed` when the server is closed before, or `load_failed` when a worker of this machine cannot load the app, which is tried again
   * until `close`; or with Node's error when the cluster's port cannot be had.
   */
  readonly ready: Promise<void>
  /** The port that nodes connect to, where `cluster` is given, from `ready` on. */
  readonly clusterPort: number | undefined
  /**
   * Replaces every worker: new ones load the app anew and take over, old ones finish what is open and end. Resolves when they have.
   * Workers that cannot load the app are started again, and the old ones stay until one can.
   *
   * @throws Mongrel2Error `load_failed` when one cannot; `closed` after `close`.
   */
  reload(): Promise<void>
  /**
   * Stops: reads what Mongrel2 has sent already, takes no more, lets the workers answer all of it, then ends them and closes the
   * sockets. A second call returns the first one's promise.
   *
   * @param options.timeout Milliseconds after which what is still open is aborted and its connections are closed. Default: 10,000.
   */
  close(options?: { timeout?: number }): Promise<void>
  /** What has been counted since the start, and what is there. */
  stats(): DispatcherStatistics
}

/**
 * Serves an app by several worker processes: this one pulls from Mongrel2 and deals its messages to them, all of a connection to the
 * same one, and they publish their answers themselves.
 *
 * @throws Mongrel2Error `invalid_option` when an option is wrong.
 */
export function serveWithWorkers(options: WorkersOptions): WorkersServer {
  const settings = checkWorkersOptions(options)
  const { logger, signal } = settings.settings
  const { app, workers, threads, execArgv, cluster } = settings
  const main = cluster && openMainNode(cluster, settings, () => dispatcher)
  const config = { ...sharedStartOf(settings.options, workers, threads, logger), app, remote: false }
  const dispatcher = new Dispatcher(settings, new LocalHost(workerStart(config, execArgv)))
  let clusterPort: number | undefined
  let closed: Promise<void> | undefined
  const close: WorkersServer['close'] = (options) => {
    const timeout = checkCloseOptions(options)
    closed ??= dispatcher.close(timeout).then(() => main?.close())
    return closed
  }
  whenAborted(signal, () => {
    close().catch((error: unknown) => logger.error?.(`mongrel2-fetch: closing failed: ${describeError(error)}`))
  })
  const ready = Promise.all([dispatcher.ready, main?.opened]).then(([, port]) => {
    clusterPort = port
  })
  ready.catch(() => {}) // not everybody waits for it
  return {
    ready,
    get clusterPort() {
      return clusterPort
    },
    reload: () => dispatcher.reload(),
    close,
    stats: () => dispatcher.stats(),
    [Symbol.asyncDispose]: () => close(),
  }
}
