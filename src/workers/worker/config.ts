import { checkOptions, type Mongrel2Handler, type Mongrel2Options, type Settings } from '../../exchange/options.ts'
import * as is from '../../options/option.ts'
import { replaceGlobalsFirst } from '../../platform/globals.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { describeLoadError, type Level, type Logger } from '../../runtime/log.ts'

/** The environment variable that a worker process finds its configuration in, as JSON. */
export const WORKER_VARIABLE = 'MONGREL2_FETCH_WORKER'

/** What a worker loads: a module whose default export makes the app of the data. */
export interface AppSource {
  /** The URL of a module whose default export is a `LoadApp`. */
  readonly module: string
  /** What that function is called with; it has to survive JSON. */
  readonly data?: unknown
}

/** What a worker serves. */
export interface LoadedApp {
  readonly handler: Mongrel2Handler
  /** Options that JSON cannot carry: functions, and a logger that is not the dispatcher's. They go over those of the dispatcher. */
  readonly options?: Partial<Mongrel2Options>
}

/** Loads the app, once in each worker. */
export type LoadApp = (data: unknown) => LoadedApp | Promise<LoadedApp>

/** What the dispatcher tells a worker process when it starts it. */
export interface WorkerConfig {
  /** The process id of whoever starts it. */
  readonly parent: number
  /** The name that its sockets have. */
  readonly identity: string
  /** Where it is dealt messages: the dispatcher's ROUTER. */
  readonly dealSpec: string
  /** Where its reports go: the dispatcher's PULL. */
  readonly reportSpec: string
  /** Handler threads; with one, the main thread is it. */
  readonly threads: number
  readonly app: AppSource
  readonly options: Mongrel2Options
  /** What the dispatcher's logger logs. */
  readonly logLevels: readonly Level[]
  /** Whether the dispatcher is on another machine: what it has been told it says then, and until that no byte of an answer goes out. */
  readonly remote: boolean
}

/** Loads the app and puts the options together. The globals are replaced before, since an app may keep the classes that it finds. */
export async function loadSettings({ app, options }: WorkerConfig, logger: Logger): Promise<Settings> {
  if (options.overrideGlobalObjects === true) replaceGlobalsFirst()
  const module: { readonly default: LoadApp } = await import(app.module)
  const loaded = checkLoaded(await module.default(app.data), "the app's default export")
  return checkOptions(loaded.handler, { ...options, logger, ...loaded.options })
}

const LOADED = {
  handler: is.unchecked<Mongrel2Handler>(),
  options: is.unchecked<LoadedApp['options']>(),
} satisfies is.Described<LoadedApp>
const checkLoaded = is.checkerOf('property of the loaded app', 'a function that returns { handler, options }', LOADED)

/** Says why an app could not be loaded; an error of ours is for people as it is. */
export function reasonOf(error: unknown): string {
  return error instanceof Mongrel2Error ? error.message : describeLoadError(error)
}
