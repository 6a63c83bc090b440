import { availableParallelism } from 'node:os'
import type { Mongrel2Options, Settings } from '../exchange/options.ts'
import * as is from '../options/option.ts'
import { invalid, isObject } from '../runtime/errors.ts'
import type { AppSource } from './worker/worker-config.ts'

/** The options of workers. Times are in milliseconds, sizes in bytes. */
export interface WorkerPoolOptions {
  /** The app that each worker loads: a process cannot hand a function to another. */
  app: AppSource
  /**
   * The options of `serveMongrel2` for each worker; `maxInFlight` is for each of them, `maxQueued` for all. Functions but the logger's do not
   * reach the workers: let `app` return them.
   */
  options: Mongrel2Options
  /** Worker processes. Default: one for each processor. */
  workers?: number
  /** Handler threads in each. Default: 1, the process' own. */
  threads?: number
  /** Time without a sign of life, for example in an endless loop, after which a worker is killed. Default: 30,000. */
  workerTimeout?: number
  /** How long a worker may take from its start until its app is loaded. Default: 60,000. */
  startTimeout?: number
  /** How long a worker that is replaced may take to finish what is open. Default: 30,000. */
  replaceTimeout?: number
  /** Requests after which a worker process is replaced. Default: 0, never. */
  maxRequests?: number
  /** The most requests more than `maxRequests`, a number chosen for each worker, so that they are not replaced at once. Default: 0. */
  maxRequestsJitter?: number
  /** Resident memory beyond which a worker process is replaced. Default: 0, never. */
  maxRss?: number
  /** Arguments for Node, as `child_process.fork` has them. Default: those of this process. */
  execArgv?: readonly string[]
}

/** A frame has one byte for the thread's number. */
const MOST_THREADS = 255
const MOST_WORKERS = 1024

const APP = { module: is.unchecked<string>(), data: is.unchecked<unknown>() } satisfies is.Described<AppSource>
const checkApp = is.checkerOf('property of app', '{ module, data }', APP)

export const WORKER_POOL_OPTIONS = {
  app: is.checkedBy((name, app) => {
    if (isObject(app) && typeof app.module === 'string') return checkApp(app, name)
    throw invalid(name, '{ module, data } with the URL of a module', app)
  }),
  options: is.unchecked<Mongrel2Options>(),
  workers: is.count(undefined, [1, MOST_WORKERS], {
    initial: availableParallelism,
    letter: 'p',
    fallback: 'one for each processor',
    help: 'Worker processes; auto is one for each processor.',
  }),
  threads: is.count(1, [1, MOST_THREADS], { help: 'Handler threads in each worker process.' }),
  workerTimeout: is.milliseconds(30_000, 100, {
    help: 'Time without a sign of life after which a worker is killed.',
  }),
  startTimeout: is.milliseconds(60_000, 100, { help: 'How long a worker may take to load the app.' }),
  replaceTimeout: is.milliseconds(30_000, 0, {
    help: 'How long a worker that is replaced may take to finish what is open.',
  }),
  maxRequests: is.count(0, [0], { fallback: '0, never', help: 'Requests after which a worker process is replaced.' }),
  maxRequestsJitter: is.count(0, [0], {
    help: 'The most requests more than --max-requests, chosen for each worker at random.',
  }),
  maxRss: is.bytes(0, [0], {
    fallback: '0, never',
    help: 'Resident memory beyond which a worker process is replaced.',
  }),
  execArgv: is.texts({
    initial: () => process.execArgv,
    placeholder: 'ARGS',
    fallback: "this process' own",
    help: 'Arguments for Node in worker processes, separated by spaces.',
  }),
} satisfies is.Described<WorkerPoolOptions>

/** The options, checked and with their defaults. */
export interface WorkersSettings extends is.Checked<typeof WORKER_POOL_OPTIONS> {
  readonly settings: Settings
  /** The option `workers` without its default. */
  readonly workersGiven: number | undefined
}
