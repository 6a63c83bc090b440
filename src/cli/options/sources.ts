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

/** Reads and checks the text of a flag or an environment variable. */
export function sourceOf(option: CommandOption, text: string, from: string): OptionSource {
  return checked(option, { value: option.read === undefined ? text : option.read(text), from })
}

/**
 * Reads options from environment variables.
 *
 * @param warn Called with a line for each variable that is no option: others may have set it, so it is no error.
 * @throws Mongrel2Error `invalid_option`, CommandError `usage`, naming the variable.
 */
export function sourcesInEnvironment(env: NodeJS.ProcessEnv, warn: (line: string) => void): OptionSources {
  const sources = new Map<OptionKey, OptionSource>()
  const options = OPTIONS.filter(({ help }) => help !== undefined)
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || !name.startsWith(PREFIX)) continue
    const option = options.find(({ environment }) => environment === name)
    if (option === undefined) {
      warn(
        `there is no option ${name}${didYouMean(
          name,
          options.map(({ environment }) => environment),
        )}`,
      )
    } else if (text !== '') {
      // An empty variable counts as unset: in some places one cannot be unset.
      sources.set(option.key, sourceOf(option, text, name))
    }
  }
  return sources
}

/** A configuration file as it was read. */
export interface ConfigFile {
  /** Its name, for messages. */
  readonly name: string
  /** An absolute path. */
  readonly path: string
  readonly values: Readonly<Record<string, unknown>>
}

/**
 * Takes options from a configuration file in the shape of `CommandConfig`.
 *
 * @throws Mongrel2Error `invalid_option`, CommandError `usage`, naming the file and the key.
 */
export function sourcesInFile({ name, values }: ConfigFile): OptionSources {
  const sources = new Map<OptionKey, OptionSource>()
  const options = OPTIONS.filter(({ key }) => key !== 'config')
  for (const [key, value] of entriesOf(values)) {
    if (value === undefined) continue
    const option = options.find((row) => row.key === key)
    if (option === undefined) {
      const meant = didYouMean(
        key,
        options.map((row) => row.key),
      )
      throw new CommandError('usage', `${name}: there is no option ${key}${meant}`)
    }
    sources.set(option.key, checked(option, { value, from: `${name}: ${key}` }))
  }
  return sources
}

/** The entries, those of `uploads` with a dot in their keys. */
function entriesOf(config: Readonly<Record<string, unknown>>): [string, unknown][] {
  return Object.entries(config).flatMap(([key, value]): [string, unknown][] =>
    key === 'uploads' && typeof value === 'object' && value !== null
      ? Object.entries(value).map(([inner, innerValue]) => [`uploads.${inner}`, innerValue])
      : [[key, value]],
  )
}

/** A part of an endpoint is checked by its own name. */
function checked(option: CommandOption, source: OptionSource): OptionSource {
  try {
    option.check(source.from, source.value)
    return source
  } catch (error) {
    if (!(error instanceof Mongrel2Error) || error.message.startsWith(source.from)) throw error
    throw new CommandError('usage', `${source.from}: ${error.message.replace(/^\w+: /, '')}`)
  }
}

/** What the library calls an option that has another key here. */
const KEYS: Readonly<Record<string, OptionKey>> = {
  main: 'cluster',
  keys: 'clusterKey',
  'cluster.listen': 'cluster',
  'cluster.keys': 'clusterKey',
  'cluster.nodes': 'clusterNodes',
  'cluster.zeromq': 'clusterZeromq',
}

/** Runs a check of the library; its message gets the name that the user has given. */
export function named<T>(sources: OptionSources, check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof Mongrel2Error)) throw error
    const [name = ''] = error.message.split(': ')
    const from = sources.get(KEYS[name] ?? (name as OptionKey))?.from ?? name
    throw new CommandError('usage', from + error.message.slice(name.length))
  }
}

/** The text that was given for an option. */
export function textOf(sources: OptionSources, key: OptionKey): string | undefined {
  const value = sources.get(key)?.value
  return typeof value === 'string' ? value : undefined
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
