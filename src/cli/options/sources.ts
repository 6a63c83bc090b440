import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { didYouMean } from '../../options/did-you-mean.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { importModule } from '../modules/import-module.ts'
import { CommandError } from '../shared/exit-code.ts'
import {
  type CommandOption,
  OPTIONS,
  type OptionKey,
  type OptionSource,
  type OptionSources,
} from './command-options.ts'

const PREFIX = 'MONGREL2_FETCH_'

/** Parses and checks the text of a flag or an environment variable, or checks the texts of a flag that can be repeated. */
export function sourceOf(option: CommandOption, text: string | readonly string[], from: string): OptionSource {
  const value = typeof text === 'string' && option.read !== undefined ? option.read(text) : text
  return checkSource(option, { value, from })
}

/**
 * Reads options from environment variables; errors name the variable. Something else may have set a variable that is no
 * option: `warn` gets a line about it.
 */
export function sourcesInEnvironment(env: NodeJS.ProcessEnv, warn: (line: string) => void): OptionSources {
  const sources = new Map<OptionKey, OptionSource>()
  const options = OPTIONS.filter(({ help }) => help !== undefined)
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || !name.startsWith(PREFIX)) continue
    const option = options.find(({ environment }) => environment === name)
    const names = options.map(({ environment }) => environment)
    if (option === undefined) warn(`there is no option ${name}${didYouMean(name, names)}`)
    // An empty variable counts as unset: in some places one cannot be unset.
    else if (text !== '') sources.set(option.key, sourceOf(option, text, name))
  }
  return sources
}

/** Reads the variable by which platforms and other servers name the port. */
export function usualSources({ PORT }: NodeJS.ProcessEnv): OptionSources {
  const port = OPTIONS.find(({ key }) => key === 'port')
  return new Map(PORT && port ? [[port.key, sourceOf(port, PORT, 'PORT')]] : [])
}

/** A configuration file. */
export interface ConfigFile {
  /** Its name, for messages. */
  readonly name: string
  /** An absolute path. */
  readonly path: string
  readonly values: Readonly<Record<string, unknown>>
}

/** Takes options from a configuration file, a `CommandConfig`; errors name the file and the key. */
export function sourcesInFile({ name, values }: ConfigFile): OptionSources {
  const sources = new Map<OptionKey, OptionSource>()
  const options = OPTIONS.filter(({ key }) => key !== 'config')
  for (const [key, value] of entriesOf(values)) {
    if (value === undefined) continue
    const option = options.find((each) => each.key === key)
    if (option === undefined) {
      const keys = options.map((each) => each.key)
      throw new CommandError('usage', `${name}: there is no option ${key}${didYouMean(key, keys)}`)
    }
    sources.set(option.key, checkSource(option, { value, from: `${name}: ${key}` }))
  }
  return sources
}

/** The entries of a configuration; those of `uploads` have keys with a dot. */
function entriesOf(config: Readonly<Record<string, unknown>>): [string, unknown][] {
  return Object.entries(config).flatMap(([key, value]): [string, unknown][] =>
    key === 'uploads' && typeof value === 'object' && value !== null
      ? Object.entries(value).map(([inner, innerValue]) => [`uploads.${inner}`, innerValue])
      : [[key, value]],
  )
}

/** Checks a value; its errors begin with its source, those about a part of an endpoint too. */
function checkSource(option: CommandOption, source: OptionSource): OptionSource {
  try {
    option.check(source.from, source.value)
    return source
  } catch (error) {
    if (!(error instanceof Mongrel2Error) || error.message.startsWith(source.from)) throw error
    throw new CommandError('usage', `${source.from}: ${error.message.replace(/^\w+: /, '')}`)
  }
}

/** Names of the library for options that have other keys here. */
const KEYS: Readonly<Record<string, OptionKey>> = {
  main: 'cluster',
  keys: 'clusterKey',
  'cluster.listen': 'cluster',
  'cluster.keys': 'clusterKey',
  'cluster.nodes': 'clusterNodes',
  'cluster.zeromq': 'clusterZeromq',
}

/** Runs a check of the library; its errors name the option as the user gave it. */
export function withSourceNames<T>(sources: OptionSources, check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof Mongrel2Error)) throw error
    const [name = ''] = error.message.split(': ')
    const from = sources.get(KEYS[name] ?? (name as OptionKey))?.from ?? name
    throw new CommandError('usage', from + error.message.slice(name.length))
  }
}

const NAMES = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs', 'json'].map((extension) => `mongrel2-fetch.config.${extension}`)

/** Reads the configuration file, without a path one of the usual names; throws CommandError `usage`. */
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
