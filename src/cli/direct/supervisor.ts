import { Mongrel2Error } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/log.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { Seats, type SeatsOwner } from '../../workers/dispatcher/seats.ts'
import { type DirectNews, type DirectObserver, type DirectStart, DirectWorker } from './worker.ts'

/** How many processes, and how long one that is replaced may take to finish what is open, in milliseconds. */
export interface SupervisorOptions extends DirectStart {
  readonly workers: number
  readonly replaceTimeout: number
}

/** Keeps processes running that each pull from Mongrel2 for themselves. */
export class Supervisor implements SeatsOwner<DirectWorker>, DirectObserver {
  /** Resolves when each of them serves; rejects with a `Mongrel2Error` `load_failed` when one cannot load the app, or `closed`. */
  readonly ready: Promise<void>
  readonly #options: SupervisorOptions
  readonly #logger: Logger
  readonly #seats: Seats<DirectWorker>
  readonly #workers = new Set<DirectWorker>()
  #closing = false
  #noWorkers: Deferred<void> | undefined

  constructor(options: SupervisorOptions, logger: Logger) {
    this.#options = options
    this.#logger = logger
    this.#seats = new Seats(options.workers, this, logger)
    this.ready = this.#seats.filled
    this.#seats.fill()
  }

  stats(): { workers: { pid: number }[] } {
    return { workers: [...this.#workers].map(({ pid }) => ({ pid })) }
  }

  /** @throws Mongrel2Error `load_failed` when the app cannot be loaded anew; `closed` after `close`. */
  async reload(): Promise<void> {
    if (this.#closing) throw new Mongrel2Error('closed', 'expected to reload before close, not after')
    await this.#seats.reload()
  }

  /** Lets all of them answer what they have within so many milliseconds, and end. */
  async close({ timeout }: { timeout: number }): Promise<void> {
    this.#closing = true
    this.#seats.close()
    if (this.#workers.size === 0) return
    this.#noWorkers = deferred()
    for (const worker of this.#workers) worker.stop(timeout)
    await this.#noWorkers.promise
  }

  start(): DirectWorker {
    const worker = new DirectWorker(this.#options, this)
    this.#workers.add(worker)
    return worker
  }

  retire(worker: DirectWorker): void {
    worker.stop(this.#options.replaceTimeout)
  }

  news(worker: DirectWorker, news: DirectNews): void {
    switch (news.news) {
      case 'loaded':
        return this.#logger.info?.(`mongrel2-fetch started worker ${worker.pid}`)
      case 'ready':
        return this.#seats.settle(worker)
      case 'leaving':
        return this.#seats.replace(worker, news.reason)
      case 'line':
        return this.#logger[news.level]?.(news.line)
      case 'failed':
    }
  }

  gone(worker: DirectWorker, reason: string): void {
    this.#workers.delete(worker)
    if (worker.stopping) this.#logger.info?.(`mongrel2-fetch ended worker ${worker.pid}`)
    else this.#logger.error?.(`mongrel2-fetch lost worker ${worker.pid}: ${reason}`)
    this.#seats.vacate(worker, reason)
    if (this.#workers.size === 0) this.#noWorkers?.resolve()
  }
}
