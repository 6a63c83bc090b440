import type { WorkersSettings } from '../options.ts'
import type { WorkerHandle, WorkerHandleObserver, WorkerHost } from '../protocol/worker-handle.ts'
import { ChildWorker, sharedStartOf, type WorkerStart } from './child-worker.ts'
import type { ExchangePoint } from './exchange-point.ts'

/** This machine. */
export class LocalHost implements WorkerHost {
  readonly name = ''
  readonly seesUploads = true
  readonly #start: WorkerStart
  readonly #execArgv: readonly string[]
  readonly #point: ExchangePoint

  constructor({ app, options, workers, threads, execArgv, settings }: WorkersSettings, point: ExchangePoint) {
    this.#start = { ...sharedStartOf(options, workers, threads, settings.logger), app, remote: false }
    this.#execArgv = execArgv
    this.#point = point
  }

  start(observer: WorkerHandleObserver): WorkerHandle {
    return new ChildWorker(this.#start, this.#execArgv, this.#point, observer)
  }
}
