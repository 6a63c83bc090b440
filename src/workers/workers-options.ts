import { availableParallelism } from 'node:os'
import { type ClusterOptions, type ClusterSettings, checkClusterOptions } from '../cluster/cluster-options.ts'
import { integer, invalid, isObject, known, MAX_DELAY, texts } from '../options/option-check.ts'
import { checkOptions, type Mongrel2Options, type Settings } from '../options/options.ts'
import type { AppSource } from './worker/config.ts'

/** What `serveWithWorkers` needs. Times are in milliseconds, sizes in bytes. */
export interface WorkersOptions {
  /** What each worker loads: a handler is a function, which no process can hand to another. */
  app: AppSource
  /**
   * The options of `serveMongrel2`, for each worker; `maxInFlight` holds for each of them, `maxQueued` for all. Functions in it but the
   * logger's stay here: let `app` give those.
   */
  options: Mongrel2Options
  /** Worker processes. Default: one for each processor. */
  workers?: number
  /** Handler threads in each. Default: 1, the process' own. */
  threads?: number
  /** How long a worker may give no sign of life, because of a loop that does not end for example, until it is killed. Default: 30,000. */
  workerTimeout?: number
  /** How long a worker may take from its start until its app is loaded. Default: 60,000. */
  startTimeout?: number
  /** How long a worker that is replaced may take to finish what is open. Default: 30,000. */
  replaceTimeout?: number
  /** Requests after which a worker process is replaced. Default: 0, never. */
  maxRequests?: number
  /** Resident memory beyond which a worker process is replaced. Default: 0, never. */
  maxRss?: number
  /** Arguments for Node before the program, as `child_process.fork` has them. Default: this process' own. */
  execArgv?: readonly string[]
  /** Lets workers on other machines join. Each node that does runs as many as `workers` says, by default one for each processor of its own. */
  cluster?: ClusterOptions
}

/** The options, checked and with their defaults. */
export interface WorkersSettings extends Required<Omit<WorkersOptions, 'cluster'>> {
  readonly settings: Settings
  /** `workers` as it was given. */
  readonly workersGiven: number | undefined
  readonly cluster: ClusterSettings | undefined
}

/** One byte says which slot a message is for. */
const MOST_THREADS = 255
const MOST_WORKERS = 1024

const OPTIONS: readonly (keyof WorkersOptions)[] = [
  'app',
  'options',
  'workers',
  'threads',
  'workerTimeout',
  'startTimeout',
  'replaceTimeout',
  'maxRequests',
  'maxRss',
  'execArgv',
  'cluster',
]
const APP: readonly (keyof AppSource)[] = ['module', 'data']

/** @throws Mongrel2Error `invalid_option`, naming the option, what was expected and what came. */
export function checkWorkersOptions(options: WorkersOptions): WorkersSettings {
  if (!isObject(options)) throw invalid('options', 'an object with at least app and options', options)
  known('option of serveWithWorkers', options, OPTIONS)
  const app = appOf(options.app)
  return {
    app,
    options: options.options,
    settings: checkOptions(() => new Response(), options.options),
    workers: integer('workers', options.workers, 1, MOST_WORKERS, availableParallelism()),
    threads: integer('threads', options.threads, 1, MOST_THREADS, 1),
    workerTimeout: integer('workerTimeout', options.workerTimeout, 100, MAX_DELAY, 30_000),
    startTimeout: integer('startTimeout', options.startTimeout, 100, MAX_DELAY, 60_000),
    replaceTimeout: integer('replaceTimeout', options.replaceTimeout, 0, MAX_DELAY, 30_000),
    maxRequests: integer('maxRequests', options.maxRequests, 0, Number.MAX_SAFE_INTEGER, 0),
    maxRss: integer('maxRss', options.maxRss, 0, Number.MAX_SAFE_INTEGER, 0),
    execArgv: texts('execArgv', options.execArgv, process.execArgv),
    workersGiven: options.workers,
    cluster: options.cluster && checkClusterOptions(options.cluster, app, options.options),
  }
}

function appOf(app: AppSource): AppSource {
  const given: unknown = app
  if (!isObject(given) || typeof given.module !== 'string') {
    throw invalid('app', '{ module, data } with the URL of a module', app)
  }
  known('property of app', given, APP)
  return app
}
