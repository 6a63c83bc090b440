import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { checkWorkersOptions, type WorkersOptions } from '../cluster/workers-options.ts'
import { Mongrel2Error } from '../errors.ts'
import type { Logger } from '../log.ts'
import { checkOptions, checkTimeout, type Mongrel2Options } from '../options.ts'
import { readConfigFile } from './config-file.ts'
import { CommandError } from './exit-code.ts'
import { FUNCTION_KEYS, type Given, type GivenOptions, givenByEnvironment, givenByFile } from './given.ts'
import { type HttpSettings, httpEndpoint, parseHttpAddress } from './http-front.ts'
import { type LogLevel, levelledLogger } from './levelled-logger.ts'
import { flagsOf, OPTIONS, type OptionKey, type Subcommand } from './option-table.ts'
import { terminalLogger } from './terminal-logger.ts'
import { zeromqLogger } from './zeromq-logger.ts'

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

/**
 * Makes the settings of a command: what a flag says comes before the environment, that before the configuration file, and that
 * before the default.
 *
 * @param command What the environment and the file say of options that it does not take is for the other.
 * @param flags What the command line says.
 * @throws CommandError `usage`, naming the flag, the variable or the key of the file.
 */
export async function settingsOf(command: Subcommand, flags: GivenOptions): Promise<CommandSettings> {
  const strangers: string[] = []
  const environment = givenByEnvironment(process.env, (line) => strangers.push(line))
  const path = (flags.get('config') ?? environment.get('config'))?.value
  const file = await readConfigFile(typeof path === 'string' ? path : undefined)
  const everything = [...(file === undefined ? [] : givenByFile(file.values, file.name)), ...environment, ...flags]
  const taken = new Set(['app', ...flagsOf(command).map(({ key }) => key)])
  const given = new Map(everything.filter(([key]) => taken.has(key)))
  const logger = loggerOf(given)
  const app = textOf(given, 'app') ?? missing('an app, such as app.ts, as the argument')
  const http = httpOf(given)
  const options = checkedOptions(given, http, file?.values ?? {}, logger)
  for (const line of strangers) logger.warn?.(`mongrel2-fetch: ${line}`)
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
  for (const key of FUNCTION_KEYS) if (file[key] !== undefined) options[key] = file[key]
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
    throw new CommandError('usage', `${http.from}: ${error instanceof Error ? error.message : error}`)
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
  if (rows.length === 0 && !isDirect(given)) return undefined
  const asked = given.get('workers')?.value ?? 1
  const workers: Omit<WorkersOptions, 'app' | 'options'> = {
    ...Object.fromEntries(rows.map(({ key }) => [key, given.get(key)?.value])),
    workers: asked === 'auto' ? availableParallelism() : Number(asked),
  }
  named(given, () => checkWorkersOptions({ ...workers, app: { module: '' }, options }))
  return workers
}

function closeTimeoutOf(given: GivenOptions): number {
  return named(given, () => checkTimeout(given.get('closeTimeout')?.value), 'closeTimeout')
}

function portOf(given: GivenOptions): number {
  const port = given.get('port')
  if (port === undefined) return 6767
  if (typeof port.value === 'number' && port.value >= 0 && port.value <= 65_535) return port.value
  throw new CommandError('usage', `${port.from}: expected 0 to 65535, got ${port.value}`)
}

/** Runs a check of the library, which knows the names of its own options only. */
function named<T>(given: GivenOptions, check: () => T, key?: OptionKey): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof Mongrel2Error)) throw error
    const [name = '', ...rest] = error.message.split(': ')
    const from = [...given].find(([option]) => option === (key ?? keyOf(name)))?.[1].from
    throw new CommandError('usage', from === undefined ? error.message : `${from}: ${rest.join(': ')}`)
  }
}

/** The option that the library speaks of; it names the parts of an endpoint one by one. */
function keyOf(name: string): OptionKey | undefined {
  if (['sendSpec', 'recvSpec', 'controlPort'].includes(name)) return 'zeromq'
  return OPTIONS.find(({ key }) => key === name)?.key
}

function loggerOf(given: GivenOptions): Logger {
  const level = textOf(given, 'logLevel') as LogLevel | undefined
  return levelledLogger(loggerNamed(given.get('logger')), level ?? 'info')
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

function textOf(given: GivenOptions, key: OptionKey): string | undefined {
  const value = given.get(key)?.value
  return typeof value === 'string' ? value : undefined
}

function missing(what: string): never {
  throw new CommandError('usage', `expected ${what}`)
}
