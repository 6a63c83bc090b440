import { checkOptions, type Mongrel2Handler, type Mongrel2Options, type Settings } from '../../exchange/options.ts'
import * as is from '../../options/option.ts'
import { replaceGlobalsFirst } from '../../platform/globals.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { describeLoadError, type Level, type Logger } from '../../runtime/log.ts'

/** The app that a worker loads: a module whose default export makes the app from the data. */
export interface AppSource {
  /** The URL of a module whose default export is a `LoadApp`. */
  readonly module: string
  /** The argument of that function; it has to survive JSON. */
  readonly data?: unknown
}

/** The app that a worker serves. */
export interface LoadedApp {
  readonly handler: Mongrel2Handler
  /** Options that JSON cannot carry: functions, and a logger other than the dispatcher's. They replace the dispatcher's options. */
  readonly options?: Partial<Mongrel2Options>
}

/** Loads the app, once in each worker. */
export type LoadApp = (data: unknown) => LoadedApp | Promise<LoadedApp>

/** The configuration of a worker process. */
export interface WorkerConfig {
  /** Handler threads; a single one is the main thread. */
  readonly threads: number
  readonly app: AppSource
  readonly options: Mongrel2Options
  /** The levels that the dispatcher logs. */
  readonly logLevels: readonly Level[]
  /** Whether the dispatcher is on another machine. Then it confirms reports, and no byte of an answer is published before that. */
  readonly remote: boolean
  /** Whether to report the files that the app loads. */
  readonly watched?: boolean
}

/** The environment variable that holds a child's configuration, as JSON. */
export const CONFIG_VARIABLE = 'MONGREL2_FETCH_CHILD'

/** Takes the configuration of this process from its environment. */
export function takeConfig<Config>(): Config {
  const config: Config = JSON.parse(process.env[CONFIG_VARIABLE] ?? '')
  delete process.env[CONFIG_VARIABLE]
  return config
}

/** Loads the app and checks its options; replaces globals first, since an app may keep the classes that it finds. */
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
