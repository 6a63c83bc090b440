import { checkOptions, type Mongrel2Handler, type Mongrel2Options, type Settings } from '../../exchange/options.ts'
import * as is from '../../options/option.ts'
import { replaceGlobalsFirst } from '../../platform/globals.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { describeLoadError, type Level, type Logger } from '../../runtime/log.ts'

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
  /** Options that JSON cannot carry: functions, and a logger other than the dispatcher's. They replace the dispatcher's options. */
  readonly options?: Partial<Mongrel2Options>
}

/** Loads the app, once in each worker. */
export type LoadApp = (data: unknown) => LoadedApp | Promise<LoadedApp>

/** What a worker process is started with. */
export interface WorkerConfig {
  /** The number of handler threads; a single one is the main thread. */
  readonly threads: number
  readonly app: AppSource
  readonly options: Mongrel2Options
  /** The levels that the dispatcher logs. */
  readonly logLevels: readonly Level[]
  /** Whether the dispatcher is on another machine. It confirms reports then, and no byte of an answer goes out before that. */
  readonly remote: boolean
  /** Whether to report the files that the app loads. */
  readonly watched?: boolean
}

/** The environment variable that holds a child's configuration, as JSON. */
export const CONFIG_VARIABLE = 'MONGREL2_FETCH_CHILD'

/** Takes this process' configuration out of its environment. */
export function takeConfig<Config>(): Config {
  const config: Config = JSON.parse(process.env[CONFIG_VARIABLE] ?? '')
  delete process.env[CONFIG_VARIABLE]
  return config
}

/** Loads the app and checks its options. Globals are replaced before, since an app may keep the classes that it finds. */
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

/** Describes why an app could not be loaded; an error of ours needs no stack. */
export function reasonOf(error: unknown): string {
  return error instanceof Mongrel2Error ? error.message : describeLoadError(error)
}
