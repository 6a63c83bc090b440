import { didYouMean } from '../../options/did-you-mean.ts'
import { messageOf } from '../../runtime/log.ts'
import { CommandError } from '../shared/exit-code.ts'
import type { CommandConfig } from './config-file.ts'
import { OPTIONS, type Option, type OptionKey } from './option-table.ts'
import { checkOption, parseOption } from './option-value.ts'

/** A value and where it was given, such as `--max-in-flight` or `MONGREL2_FETCH_MAX_IN_FLIGHT`. */
export interface Given {
  readonly value: unknown
  readonly from: string
}

export type GivenOptions = ReadonlyMap<OptionKey, Given>

const PREFIX = 'MONGREL2_FETCH_'
/** What a configuration file can say that no flag can; the compiler asks for a name when an option is added. */
const CODE = { onError: true, onUploadStart: true, messages: true } as const satisfies Record<
  Exclude<keyof CommandConfig, OptionKey | 'uploads'>,
  true
>
/** Options that only code can give. */
export const CODE_KEYS = Object.keys(CODE) as (keyof typeof CODE)[]

/**
 * What the environment says.
 *
 * @param warn Told about variables that are no option: they may belong to somebody else, so they are no error.
 * @throws CommandError `usage`
 */
export function givenByEnvironment(env: NodeJS.ProcessEnv, warn: (line: string) => void): GivenOptions {
  const given = new Map<OptionKey, Given>()
  const names = OPTIONS.map(({ environment }) => environment)
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || !name.startsWith(PREFIX)) continue
    const option = OPTIONS.find(({ environment }) => environment === name)
    if (option === undefined) warn(`there is no option ${name}${didYouMean(name, names)}`)
    // Empty is how a variable is taken back where it cannot be unset.
    else if (text !== '') given.set(option.key, { value: read(option, text, name), from: name })
  }
  return given
}

function read(option: Option, text: string, from: string): unknown {
  try {
    return parseOption(option, text)
  } catch (error) {
    throw new CommandError('usage', `${from}: ${messageOf(error)}`)
  }
}

/**
 * What a configuration file says, an object in the shape of `CommandConfig`.
 *
 * @param file Its name, for messages.
 * @throws CommandError `usage`
 */
export function givenByFile(config: Readonly<Record<string, unknown>>, file: string): GivenOptions {
  const given = new Map<OptionKey, Given>()
  const rows = OPTIONS.filter(({ key }) => key !== 'config')
  const names = [...rows.map(({ key }) => key), ...CODE_KEYS]
  for (const [key, value] of entriesOf(config)) {
    if (value === undefined || CODE_KEYS.some((name) => name === key)) continue
    const option = rows.find((row) => row.key === key)
    if (option === undefined) {
      throw new CommandError('usage', `${file}: there is no option ${key}${didYouMean(key, names)}`)
    }
    // A logger of one's own is an object, which the library checks.
    if (key !== 'logger' || typeof value === 'string') checkInFile(option, value, file)
    given.set(option.key, { value, from: `${file}: ${key}` })
  }
  return given
}

function checkInFile(option: Option, value: unknown, file: string): void {
  try {
    checkOption(option, value)
  } catch (error) {
    throw new CommandError('usage', `${file}: ${option.key}: ${messageOf(error)}`)
  }
}

/** The entries, those of `uploads` with a dot in their keys. */
function entriesOf(config: Readonly<Record<string, unknown>>): [string, unknown][] {
  return Object.entries(config).flatMap(([key, value]): [string, unknown][] =>
    key === 'uploads' && typeof value === 'object' && value !== null
      ? Object.entries(value).map(([inner, innerValue]) => [`uploads.${inner}`, innerValue])
      : [[key, value]],
  )
}
