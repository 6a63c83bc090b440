import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import type { EndpointInput, Mongrel2Options } from '../../options/options.ts'
import type { Logger } from '../../runtime/log.ts'
import type { WorkersOptions } from '../../workers/workers-options.ts'
import { importModule } from '../modules/import-module.ts'
import { CommandError } from '../shared/exit-code.ts'
import type { LogLevel } from '../shared/loggers.ts'

/**
 * What `mongrel2-fetch.config.ts` may export as its default: the options of `serveMongrel2`, those of `serveWithWorkers` and those of
 * the command. Flags and environment variables come first. Relative paths are relative to the working directory.
 */
export interface CommandConfig
  extends Omit<Mongrel2Options, 'zeromq' | 'logger' | 'signal'>,
    Omit<WorkersOptions, 'app' | 'options' | 'workers' | 'cluster'> {
  /** The module with the handler. */
  app?: string
  /** The module's export that is the handler. Default: `default`. */
  export?: string
  /** One or several Handlers to serve. */
  zeromq?: EndpointInput | readonly EndpointInput[]
  /** `console`, `zeromq:ADDRESS` or an object as `serveMongrel2` takes it. Default: `console`. */
  logger?: string | Logger
  /** The least that is logged. Default: `info`. */
  logLevel?: LogLevel
  /** Worker processes; `auto` is one for each processor. Default: 1. */
  workers?: number | 'auto'
  /** Where ordinary HTTP is answered, too: `HOST:PORT`, `:PORT` or the path of a socket. */
  http?: string
  /** Whether every worker process pulls from Mongrel2 for itself, without a dispatcher. Default: false. */
  direct?: boolean
  /** Where nodes may join. */
  cluster?: string
  /** The file with this machine's keys. Default: `mongrel2-fetch.key`, if there is one. */
  clusterKey?: string
  /** The public keys of the nodes that may join. */
  clusterNodes?: readonly string[]
  /** The Handlers as nodes reach them, in the order of `zeromq`. Default: as they are. */
  clusterZeromq?: EndpointInput | readonly EndpointInput[]
  /** Whether to do without keys though other machines can connect. Default: false. */
  insecure?: boolean
  /** Milliseconds that open requests may take after the first signal. Default: 10,000. */
  closeTimeout?: number
  /** Where `dev` listens for browsers. Default: 6767. */
  port?: number
}

/** A configuration as it was read. */
export interface ConfigFile {
  /** Its name, for messages. */
  readonly name: string
  /** An absolute path. */
  readonly path: string
  readonly values: Readonly<Record<string, unknown>>
}

const NAMES = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs', 'json'].map((extension) => `mongrel2-fetch.config.${extension}`)

/**
 * Reads the configuration file.
 *
 * @param path Where it is; undefined looks for one of the usual names in the working directory, and there need be none.
 * @throws CommandError `usage` when it is not there, cannot be read or is no object.
 */
export async function readConfigFile(path: string | undefined): Promise<ConfigFile | undefined> {
  const found = path ?? NAMES.find((name) => existsSync(name))
  if (found === undefined) return undefined
  if (!existsSync(found)) throw new CommandError('usage', `there is no configuration file ${found}`)
  const values = await read(resolve(found))
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    throw new CommandError('usage', `${found}: expected an object of options as the default export`)
  }
  return { name: basename(found), path: resolve(found), values: { ...values } }
}

async function read(path: string): Promise<unknown> {
  try {
    if (path.endsWith('.json')) return JSON.parse(await readFile(path, 'utf8'))
    return (await importModule(path)).default
  } catch (error) {
    if (error instanceof CommandError) throw new CommandError('usage', error.message, { cause: error.cause })
    throw new CommandError('usage', `${path} could not be loaded`, { cause: error })
  }
}
