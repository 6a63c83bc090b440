import { checkWorkersOptions, type WorkersOptions } from '../../cluster/options.ts'
import type { WorkersServer } from '../../cluster/serve-with-workers.ts'
import type { Mongrel2Options } from '../../exchange/options.ts'
import { RequestAccounts } from '../../operations/request-accounts.ts'
import type { ConnectionState, LinkState } from '../../operations/server-state.ts'
import type { EndpointSettings } from '../../options/endpoint.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import type { Level } from '../../runtime/log.ts'
import { ownModule } from '../../runtime/process/own-modules.ts'
import { type Deferred, deferred, delay } from '../../runtime/promises.ts'
import { localHost, sharedStartOf } from '../../workers/dispatcher/worker-child.ts'
import { WorkerPool } from '../../workers/dispatcher/worker-pool.ts'
import type { WorkerProxy } from '../../workers/dispatcher/worker-proxy.ts'
import type { WorkerAppData } from '../modules/worker-app.ts'
import type { CommandSettings } from '../options/settings.ts'

/** Time for a process to tell its connections, in milliseconds. */
const ANSWER_TIME = 2000

/** The configuration of a process that pulls from Mongrel2 itself. */
export interface DirectConfig {
  readonly data: WorkerAppData
  readonly options: Mongrel2Options
  /** The levels that the parent logs. */
  readonly logLevels: readonly Level[]
}

/** Processes that each pull from Mongrel2 themselves, without a dispatcher. */
interface DirectServer extends Pick<WorkersServer, 'ready' | 'reload' | 'stats' | 'metrics' | 'reopenLog'> {
  /** The connections of each process. One connection may be known to several: its messages come to any of them. */
  connections(): Promise<ConnectionState[]>
  /** Ends all of them, after at most `timeout` milliseconds for open requests. */
  close(options: { timeout: number }): Promise<void>
}

/** Serves an app by processes that each pull from Mongrel2 themselves. */
export function serveDirectly(
  { app, exportName, config, options, logger }: CommandSettings,
  workersOptions: Omit<WorkersOptions, 'app' | 'options'>,
): DirectServer {
  const settings = checkWorkersOptions({ ...workersOptions, app: { module: '' }, options })
  const { options: shared, logLevels } = sharedStartOf(options, settings.workers, 1, logger)
  const child: DirectConfig = { data: { app, exportName, config }, options: { ...shared, shared: true }, logLevels }
  const entry = ownModule('cli/direct/child')
  const accounts = new RequestAccounts(settings.settings)
  const links = new DirectLinks(settings.settings.endpoints)
  const connections = new DirectConnections()
  let closing = false
  const stats = () => ({ ...pool.state, ...accounts.state, queued: 0, closing, links: links.states })
  // An app that computes for long is not ended: no other process can take its connections.
  const pool = new WorkerPool({ ...settings, workerTimeout: Number.POSITIVE_INFINITY }, accounts.logger, {
    news: (worker, news) => {
      if (news.news === 'serves') pool.onReady(worker)
      else if (news.news === 'record') accounts.record(news.line)
      else if (news.news === 'attached' || news.news === 'detached')
        links.note(worker, news.link, news.news === 'attached')
      else if (news.news === 'connections') connections.answer(worker, news.connections)
    },
    report: ({ threads: [thread] }, { ended, inFlight, lines }) => {
      thread?.report(0, inFlight)
      if (thread !== undefined) thread.requests += ended.length
      for (const request of ended) accounts.add(request)
      if (lines.length > 0) accounts.log(lines)
    },
    gone: (worker) => {
      links.gone(worker)
      connections.answer(worker, [])
    },
    retire: (worker) => worker.stop(settings.replaceTimeout),
  })
  const host = localHost({ entry, config: child, execArgv: settings.execArgv })
  return {
    ready: pool.addHost(host, settings.workers),
    stats,
    metrics: ({ openMetrics = false } = {}) => accounts.metrics(stats(), openMetrics),
    connections: async () => (await Promise.all(pool.workers.map((worker) => connections.ask(worker)))).flat(),
    reopenLog: () => accounts.reopen(),
    reload: () => pool.reload(),
    async close({ timeout }) {
      closing = true
      pool.close()
      for (const worker of pool.workers) worker.stop(timeout)
      await pool.ended()
      await accounts.close()
    },
  }
}

/** The links of all processes: one is attached if any process has it. */
class DirectLinks {
  readonly #endpoints: readonly EndpointSettings[]
  readonly #since: number[]
  readonly #attached: readonly Set<WorkerProxy>[]

  constructor(endpoints: readonly EndpointSettings[]) {
    this.#endpoints = endpoints
    this.#since = endpoints.map(() => Date.now())
    this.#attached = endpoints.map(() => new Set())
  }

  note(worker: WorkerProxy, link: number, attached: boolean): void {
    const workers = this.#attached[link]
    if (workers === undefined) return
    const before = workers.size
    if (attached) workers.add(worker)
    else workers.delete(worker)
    if (before === 0 || workers.size === 0) this.#since[link] = Date.now()
  }

  gone(worker: WorkerProxy): void {
    for (const [link, workers] of this.#attached.entries()) if (workers.has(worker)) this.note(worker, link, false)
  }

  get states(): LinkState[] {
    return this.#endpoints.map(({ sendSpec, recvSpec }, link) => {
      const attached = (this.#attached[link]?.size ?? 0) > 0
      return { sendSpec, recvSpec, attached, since: this.#since[link] ?? 0 }
    })
  }
}

/** Asks processes for their connections. */
class DirectConnections {
  readonly #asked = new Map<WorkerProxy, Deferred<ConnectionState[]>>()

  /** Throws Mongrel2Error `timeout` if the process does not answer. */
  async ask(worker: WorkerProxy): Promise<ConnectionState[]> {
    if (!worker.loaded || worker.gone) return []
    let asked = this.#asked.get(worker)
    if (asked === undefined) {
      asked = deferred()
      this.#asked.set(worker, asked)
      worker.order({ order: 'connections' })
    }
    const late = delay(ANSWER_TIME).then(() => {
      throw new Mongrel2Error('timeout', `process ${worker.pid} did not tell its connections within ${ANSWER_TIME} ms`)
    })
    return await Promise.race([asked.promise, late])
  }

  answer(worker: WorkerProxy, connections: readonly Omit<ConnectionState, 'worker'>[]): void {
    const { pid } = worker
    this.#asked.get(worker)?.resolve(connections.map((connection) => ({ ...connection, worker: pid })))
    this.#asked.delete(worker)
  }
}
