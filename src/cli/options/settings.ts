import { resolve } from 'node:path'
import { checkOptions, type Mongrel2Options } from '../../options/options.ts'
import { type Logger, messageOf, safeLogger } from '../../runtime/log.ts'
import { checkWorkersOptions, type WorkersOptions } from '../../workers/workers-options.ts'
import { type HttpSettings, httpEndpoint, parseHttpAddress } from '../serve/http-front.ts'
import { CommandError } from '../shared/exit-code.ts'
import { type LogLevel, levelledLogger, terminalLogger, zeromqLogger } from '../shared/loggers.ts'
import { closeTimeoutOf, named, textOf } from './checked.ts'
import { clusterOf } from './cluster-settings.ts'
import { type ConfigFile, readConfigFile } from './config-file.ts'
import { CODE_KEYS, type Given, type GivenOptions, givenByEnvironment, givenByFile } from './given.ts'
import { flagsOf, OPTIONS, type OptionKey, type Subcommand } from './option-table.ts'

/** What a command works with: flags, environment, configuration file and defaults made into one. */
export interface CommandSettings {
  /** The module with the handler, an absolute path. */
  readonly app: string
  /** The module's export that is the handler. */
  readonly exportName: string
  /** For `serveMongrel2`, checked. */
  readonly options: Mongrel2Options
  /** For `serveWithWorkers`, checked; undefined when nothing asks for workers, and the app runs in this process. */
  readonly workers: Omit<WorkersOptions, 'app' | 'options'> | undefined
  /** Where ordinary HTTP is answered, too. */
  readonly http: HttpSettings | undefined
  /** Whether worker processes pull for themselves. */
  readonly direct: boolean
  /** The configuration file, if there is one. */
  readonly config: string | undefined
  readonly logger: Logger
  /** How long open requests may take after the first signal, in milliseconds. */
  readonly closeTimeout: number
  /** Where `dev` listens for browsers. */
  readonly port: number
}

/** What was given, from all places. */
export interface Gathered {
  readonly given: GivenOptions
  readonly file: ConfigFile | undefined
  readonly logger: Logger
  /**
   * What was given for a node, when there is a main node to join and no app to serve: a place that comes after the one of `cluster`, such
   * as a configuration file that this machine shares with the main node, has nothing to say to that.
   */
  readonly joins: GivenOptions | undefined
}

/**
 * Gathers the options of a command: what a flag says comes before the environment, that before the configuration file.
 *
 * @param command What the environment and the file say of options that it does not take is for the other.
 * @param flags What the command line says.
 * @throws CommandError `usage`, naming the flag, the variable or the key of the file.
 */
export async function gather(command: Subcommand, flags: GivenOptions): Promise<Gathered> {
  const strangers: string[] = []
  const environment = givenByEnvironment(process.env, (line) => strangers.push(line))
  const path = (flags.get('config') ?? environment.get('config'))?.value
  const file = await readConfigFile(typeof path === 'string' ? path : undefined)
  const taken = new Set(['app', ...flagsOf(command).map(({ key }) => key)])
  const places = [flags, environment, file === undefined ? new Map() : givenByFile(file.values, file.name)]
  const merged = (first: number) =>
    new Map(
      places
        .slice(0, first)
        .reverse()
        .flatMap((place) => [...place])
        .filter(([key]) => taken.has(key)),
    )
  const given = merged(places.length)
  const logger = loggerOf(given)
  for (const line of strangers) logger.warn?.(`mongrel2-fetch: ${line}`)
  const before = merged(places.findIndex((place) => place.has('cluster')) + 1)
  return { given, file, logger, joins: before.has('cluster') && !before.has('app') ? before : undefined }
}

/** Gathers and makes the settings of a command that has an app. */
export async function settingsOf(command: Subcommand, flags: GivenOptions): Promise<CommandSettings> {
  return settingsFrom(await gather(command, flags))
}

/**
 * Makes the settings of a command that has an app.
 *
 * @throws CommandError `usage`, naming the flag, the variable or the key of the file.
 */
export function settingsFrom({ given, file, logger }: Gathered): CommandSettings {
  const app = textOf(given, 'app') ?? missing('an app, such as app.ts, as the argument')
  const http = httpOf(given)
  const options = checkedOptions(given, http, file?.values ?? {}, logger)
  return {
    app: resolve(app),
    exportName: textOf(given, 'export') ?? 'default',
    options,
    workers: workersOf(given, options),
    http,
    direct: isDirect(given),
    config: file?.path,
    logger,
    closeTimeout: closeTimeoutOf(given),
    port: portOf(given),
  }
}

/** The library checks its options; here a message gets the name that the user has given. */
function checkedOptions(
  given: GivenOptions,
  http: HttpSettings | undefined,
  file: Readonly<Record<string, unknown>>,
  logger: Logger,
): Mongrel2Options {
  if (!given.has('zeromq') && http === undefined)
    missing("--zeromq SEND_SPEC,RECV_SPEC, the two addresses of Mongrel2's Handler")
  const options: Record<string, unknown> = { overrideGlobalObjects: true, logger }
  for (const { key, group } of OPTIONS) {
    const value = given.get(key)?.value
    if (group !== 'server' || value === undefined) continue
    const [outer = key, inner] = key.split('.')
    options[outer] = inner === undefined ? value : { ...Object(options[outer]), [inner]: value }
  }
  if (http !== undefined) options.zeromq = [options.zeromq ?? [], http.endpoint].flat()
  for (const key of CODE_KEYS) if (file[key] !== undefined) options[key] = file[key]
  const unchecked = options as object as Mongrel2Options
  const ownLogger = given.get('logger')?.value
  const checked = typeof ownLogger === 'object' ? { ...unchecked, logger: ownLogger as Logger } : unchecked
  named(given, () => checkOptions(() => new Response(), checked))
  return unchecked
}

function httpOf(given: GivenOptions): HttpSettings | undefined {
  const http = given.get('http')
  if (http === undefined) return undefined
  try {
    const trust = given.get('trustProxy')?.value ?? false
    return {
      at: parseHttpAddress(String(http.value)),
      endpoint: httpEndpoint(),
      trustsProxy: trust !== false && trust !== 0,
    }
  } catch (error) {
    throw new CommandError('usage', `${http.from}: ${messageOf(error)}`)
  }
}

const NEEDS_DISPATCHER: readonly OptionKey[] = ['threads', 'workerTimeout', 'maxRequests', 'maxRss']

function isDirect(given: GivenOptions): boolean {
  if (given.get('direct')?.value !== true) return false
  for (const key of NEEDS_DISPATCHER) {
    const from = given.get(key)?.from
    if (from !== undefined)
      throw new CommandError('usage', `${from}: expected none with --direct: a dispatcher does that`)
  }
  return true
}

/** Any option of theirs asks for workers. */
function workersOf(given: GivenOptions, options: Mongrel2Options): CommandSettings['workers'] {
  const rows = OPTIONS.filter(({ key, group }) => group === 'workers' && given.has(key))
  const cluster = clusterOf(given)
  if (rows.length === 0 && !isDirect(given) && cluster === undefined) return undefined
  const asked = given.get('workers')?.value ?? 1
  const workers: Omit<WorkersOptions, 'app' | 'options'> = {
    ...Object.fromEntries(rows.filter(({ key }) => key !== 'workers').map(({ key }) => [key, given.get(key)?.value])),
    // Left out, it is as many as a machine has processors, and a node may have more or less.
    ...(asked === 'auto' ? {} : { workers: Number(asked) }),
    ...(cluster === undefined ? {} : { cluster }),
  }
  named(given, () => checkWorkersOptions({ ...workers, app: { module: import.meta.url }, options }))
  return workers
}

function portOf(given: GivenOptions): number {
  const port = given.get('port')
  if (port === undefined) return 6767
  if (typeof port.value === 'number' && port.value >= 0 && port.value <= 65_535) return port.value
  throw new CommandError('usage', `${port.from}: expected 0 to 65535, got ${port.value}`)
}

function loggerOf(given: GivenOptions): Logger {
  const level = textOf(given, 'logLevel') as LogLevel | undefined
  return levelledLogger(safeLogger(loggerNamed(given.get('logger'))), level ?? 'info')
}

function loggerNamed(given: Given | undefined): Logger {
  const value = given?.value ?? 'console'
  if (typeof value === 'object') return value as Logger
  if (value === 'console') return terminalLogger()
  const address = /^zeromq:(.+)$/.exec(String(value))?.[1]
  try {
    if (address !== undefined) return zeromqLogger(address)
  } catch {
    // ZeroMQ says no more than that it is wrong.
  }
  throw new CommandError(
    'usage',
    `${given?.from}: expected console, zeromq:tcp://HOST:PORT or zeromq:ipc://PATH, got ${JSON.stringify(value)}`,
  )
}

function missing(what: string): never {
  throw new CommandError('usage', `expected ${what}`)
}
