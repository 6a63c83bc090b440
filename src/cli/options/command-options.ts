import { isIP } from 'node:net'
import type { WorkersOptions } from '../../cluster/options.ts'
import { type Mongrel2Options, SERVER_OPTIONS } from '../../exchange/options.ts'
import { address, type ListenAt } from '../../gateway/listen.ts'
import { FRONT_SETTINGS, PLACES, type Places, TLS_OPTIONS, type TlsOptions } from '../../gateway/options.ts'
import { CLOSE } from '../../options/close.ts'
import type { EndpointInput, UploadOptions } from '../../options/endpoint.ts'
import * as is from '../../options/option.ts'
import { invalid, isObject } from '../../runtime/errors.ts'
import { LOG_LEVELS, type Logger } from '../../runtime/log.ts'
import { WORKER_POOL_OPTIONS } from '../../workers/options.ts'
import { LOG_FORMATS, type LogFormat, type LogLevel } from '../shared/loggers.ts'

/** Options of the command alone, by their keys in the configuration file. */
interface OwnConfig extends TlsOptions {
  /** The module with the handler. */
  app?: string
  /** The module's export that is the handler. Default: `default`. */
  export?: string
  /** One or several Handlers to serve. */
  zeromq?: EndpointInput | readonly EndpointInput[]
  /** `console`, `zeromq:ADDRESS` or an object as `serveMongrel2` takes it. Default: `console`. */
  logger?: string | Logger
  /** The lowest level that is logged. Default: `info`. */
  logLevel?: LogLevel
  /** Lines of text, or JSON objects as pino writes them. Default: `text`. */
  logFormat?: LogFormat
  /** Worker processes; `auto` is one for each processor. Default: 1. */
  workers?: number | 'auto'
  /** Mongrel2's databases, each with `#SERVER` where it has several, in the place of `zeromq`. */
  mongrel2?: string | readonly string[]
  /** The Handlers of `mongrel2` to serve, by their `send_ident` or a route. Default: the only one of each server. */
  handler?: string | readonly string[]
  /** Where ordinary HTTP is served too, one address or several: `HOST:PORT`, `:PORT` or the path of a socket. */
  http?: string | readonly string[]
  /** Where front servers are answered by the uwsgi protocol, one address or several. */
  uwsgi?: string | readonly string[]
  /** Where front servers are answered by FastCGI, one address or several. */
  fastcgi?: string | readonly string[]
  /** Where front servers are answered by SCGI, one address or several. */
  scgi?: string | readonly string[]
  /** Bytes that the head of a request may have at `http`. Default: 16 KiB. */
  httpBufferSize?: number
  /** Time for the head of a request at `http`, in milliseconds. Default: 60,000. */
  httpHeadersTimeout?: number
  /** Time after which a client that reads nothing of its answer at `http` is closed, in milliseconds. Default: 120,000. */
  httpSendTimeout?: number
  /** Time that a connection without a request is kept at `http`, in milliseconds. Default: 75,000. */
  httpKeepAliveTimeout?: number
  /** Connections at `http`; those beyond are closed at once. Default: 10,000. */
  httpMaxConnections?: number
  /** Where people and programs see the state of `serve`, and may reload the app: `HOST:PORT` or the path of a socket. */
  admin?: string
  /** The file with the token that clients of `admin` have to send. */
  adminTokenFile?: string
  /** Whether `status` shows the state again and again. Default: false. */
  watch?: boolean
  /** Whether `status` prints JSON. Default: false. */
  json?: boolean
  /** Whether every worker process pulls from Mongrel2 itself, without a dispatcher. Default: false. */
  direct?: boolean
  /** Files whose change reloads the app, as SIGHUP does. */
  touchReload?: readonly string[]
  /** Where nodes may join. */
  cluster?: string
  /** The file with this machine's keys. Default: `mongrel2-fetch.key`, if there is one. */
  clusterKey?: string
  /** The public keys of the nodes that may join. */
  clusterNodes?: readonly string[]
  /** The Handlers as nodes reach them, in the order of `zeromq`. Default: `zeromq`. */
  clusterZeromq?: EndpointInput | readonly EndpointInput[]
  /** Whether to allow no keys although other machines can connect. Default: false. */
  insecure?: boolean
  /** Time for open requests after the first signal, in milliseconds. Default: 10,000. */
  closeTimeout?: number
  /** Where `dev` listens for browsers. Default: the variable `PORT`, or 6767. */
  port?: number
  /** The IP address where `dev` listens for browsers; `0.0.0.0` lets other machines in. Default: 127.0.0.1. */
  listen?: string
  /** Files beside the app's modules whose change makes `dev` load the app again, as glob patterns. */
  watchFiles?: readonly string[]
  /** Whether `dev` opens the app in the browser. Default: false. */
  open?: boolean
  /** Whether `dev` uses TLS, with a certificate of its own unless one is given. Default: false. */
  tls?: boolean
}

/**
 * The default export of `mongrel2-fetch.config.ts`: options of `serveMongrel2`, of `serveWithWorkers` and of the command. Flags and environment
 * variables override it. Relative paths are relative to the working directory.
 */
export interface CommandConfig
  extends Omit<Mongrel2Options, 'zeromq' | 'logger' | 'signal'>,
    Omit<WorkersOptions, 'app' | 'options' | 'workers' | 'cluster'>,
    OwnConfig {}

const LEVELS: readonly LogLevel[] = [...LOG_LEVELS, 'silent']
/** The usual file of a machine's keys. */
export const KEY_FILE = 'mongrel2-fetch.key'
export const LOGGER_FORM = 'console, zeromq:tcp://HOST:PORT or zeromq:ipc://PATH'

const COMMAND = {
  app: is.text('a text', undefined, {
    placeholder: 'FILE',
    help: 'The module with the handler; on the command line it is the argument.',
  }),
  export: is.text('a text', undefined, {
    initial: 'default',
    placeholder: 'NAME',
    help: "The module's export that is the handler: a fetch function or an object with one.",
  }),
  zeromq: {
    ...SERVER_OPTIONS.zeromq,
    help: 'A Handler to serve. The flag can be given again; in the variable they are separated by spaces.',
  },
  logger: is.checkedBy(checkLogger, {
    fallback: 'console',
    placeholder: 'console|zeromq:ADDRESS',
    help: 'Where log lines go: to stderr, or to a PULL socket that listens at the address.',
  }),
  logLevel: is.option<LogLevel>(`one of ${LEVELS.join(', ')}`, (value) => LEVELS.some((level) => level === value), {
    initial: 'info',
    placeholder: 'LEVEL',
    choices: LEVELS,
    help: 'The lowest level that is logged: debug, info, warn, error or silent.',
  }),
  logFormat: is.oneOf<LogFormat>(LOG_FORMATS, 'text', {
    placeholder: 'text|json',
    help: 'The form of log lines: text, or JSON objects with the fields of pino.',
  }),
  closeTimeout: { ...CLOSE.timeout, help: 'How long open requests may take after the first signal.' },
  ...TLS_OPTIONS,
}

const FILE = {
  config: is.text('a text', undefined, {
    placeholder: 'FILE',
    fallback: 'mongrel2-fetch.config.{ts,mts,cts,js,mjs,cjs,json}',
    help: 'The configuration file.',
  }),
}

const ADMIN = {
  admin: address({
    placeholder: 'HOST:PORT|PATH',
    help: 'Show health, metrics and state at an address of this machine, or at a socket in the file system, where the app can be reloaded too.',
  }),
  adminTokenFile: is.text('a text', undefined, {
    placeholder: 'FILE',
    help: 'The file with the token for --admin, at least 16 characters; with it --admin may have any address.',
  }),
}

const STATUS = {
  watch: is.boolean(false, { help: 'Show the state anew each second.' }),
}

const OUTPUT = {
  json: is.boolean(false, { help: 'Print JSON.' }),
}

const SERVE = {
  mongrel2: textsOf({
    placeholder: 'DATABASE[#SERVER]',
    help: "Mongrel2's database, which tells what --zeromq, --chroot, --temp-store and others would; SERVER is a uuid, name or default host.",
  }),
  handler: textsOf({
    placeholder: 'SEND_IDENT|ROUTE',
    fallback: 'the only one of each server',
    help: 'A Handler of --mongrel2 to serve.',
  }),
  ...PLACES,
  httpBufferSize: { ...FRONT_SETTINGS.bufferSize, help: 'Bytes that the head of a request may have at --http.' },
  httpHeadersTimeout: { ...FRONT_SETTINGS.headersTimeout, help: "How long a request's head may take at --http." },
  httpSendTimeout: {
    ...FRONT_SETTINGS.sendTimeout,
    help: 'Time after which a client of --http that reads nothing of its answer is closed.',
  },
  httpKeepAliveTimeout: {
    ...FRONT_SETTINGS.keepAliveTimeout,
    help: 'How long a connection without a request is kept at --http.',
  },
  httpMaxConnections: {
    ...FRONT_SETTINGS.maxConnections,
    help: 'Connections of clients at --http; those beyond are closed at once.',
  },
  direct: is.boolean(false, {
    help: 'Let every worker process pull from Mongrel2 for itself, without a dispatcher.',
  }),
  touchReload: is.texts({
    initial: [],
    repeated: true,
    placeholder: 'FILE',
    help: 'A file whose change reloads the app, as SIGHUP does. The flag can be given again; in the variable they are separated by spaces.',
  }),
  cluster: is.text('a text', undefined, {
    placeholder: 'ADDRESS',
    help: 'With an app, where nodes may join: tcp://HOST:PORT; without, the main node to join: tcp://KEY@HOST:PORT.',
  }),
  clusterKey: is.text('a text', undefined, {
    placeholder: 'FILE',
    fallback: `${KEY_FILE}, if there is one`,
    help: "This machine's keys, as `mongrel2-fetch keygen` makes them.",
  }),
  clusterNodes: is.texts({
    initial: [],
    repeated: true,
    placeholder: 'KEY',
    help: 'The public key of a node that may join. The flag can be given again; in the variable they are separated by spaces.',
  }),
  clusterZeromq: {
    ...SERVER_OPTIONS.zeromq,
    fallback: 'as --zeromq',
    help: 'A Handler as nodes reach it, in the order of --zeromq.',
  },
  insecure: is.boolean(false, { help: 'Do without keys in the cluster, though other machines can connect.' }),
}

const DEV = {
  port: is.count(6767, [0, 65_535], {
    fallback: 'PORT in the environment, or 6767',
    help: 'Where `dev` listens for browsers; 0 is any free port.',
  }),
  listen: is.text('an IP address of this machine, such as 0.0.0.0', (text) => isIP(text) !== 0, {
    initial: '127.0.0.1',
    placeholder: 'ADDRESS',
    help: 'The IP address where `dev` listens for browsers; 0.0.0.0 lets other machines in.',
  }),
  watchFiles: is.texts({
    initial: [],
    repeated: true,
    placeholder: 'GLOB',
    help: 'Files that the app reads, such as "views/**/*.html": their change loads it again. The flag can be given again; in the variable they are separated by spaces.',
  }),
  open: is.boolean(false, { help: 'Open the app in the browser.' }),
  tls: is.boolean(false, { help: 'Speak https, with a certificate of its own unless --tls-cert gives one.' }),
}

const { app: _app, options: _options, ...pool } = WORKER_POOL_OPTIONS
const WORKERS = {
  ...pool,
  workers: {
    ...pool.workers,
    placeholder: 'N|auto',
    fallback: '1',
    check(name, value = 1) {
      if (value === 'auto') return value
      if (typeof value !== 'number') throw invalid(name, 'a number of processes or auto', value)
      return pool.workers.check(name, value)
    },
  } as is.Option<number | 'auto'>,
  execArgv: { ...pool.execArgv, fallback: "the command's own" },
}

const { zeromq: _zeromq, logger: _logger, signal: _signal, ...SERVER } = SERVER_OPTIONS

const OWN = {
  ...COMMAND,
  ...FILE,
  ...ADMIN,
  ...STATUS,
  ...OUTPUT,
  ...SERVE,
  ...DEV,
  workers: WORKERS.workers,
} satisfies is.Described<
  Omit<OwnConfig, keyof Places | 'mongrel2' | 'handler' | 'admin'> &
    Places &
    Record<'mongrel2' | 'handler', readonly string[]> & { config: string; admin: ListenAt }
>

const GROUPS = {
  command: COMMAND,
  file: FILE,
  admin: ADMIN,
  status: STATUS,
  output: OUTPUT,
  serve: SERVE,
  dev: DEV,
  workers: WORKERS,
  server: { ...SERVER, overrideGlobalObjects: { ...SERVER.overrideGlobalObjects, fallback: 'true' } },
} satisfies Record<string, is.Options>
type Group = keyof typeof GROUPS

/** A key of the configuration file; a dot separates the key of an object from a key in it. */
export type OptionKey =
  | keyof typeof OWN
  | keyof typeof WORKERS
  | Exclude<keyof typeof SERVER, 'uploads'>
  | `uploads.${keyof UploadOptions}`

/** An option of the command with its names. Without `help`, only the configuration file can give it, as code. */
export interface CommandOption extends is.Option {
  readonly key: OptionKey
  readonly flag: string
  readonly environment: string
  readonly group: Group
}

/** Every option of the command. */
export const OPTIONS: readonly CommandOption[] = (Object.keys(GROUPS) as Group[]).flatMap((group) =>
  Object.entries<is.Option>(GROUPS[group]).flatMap(([key, option]) =>
    option.options === undefined
      ? commandOption(group, key, option)
      : Object.entries(option.options).map(([inner, option]) => commandOption(group, `${key}.${inner}`, option)),
  ),
)

/** Options that only the configuration file can give, as code. */
export const CODE_KEYS: readonly OptionKey[] = OPTIONS.filter(({ help }) => help === undefined).map(({ key }) => key)

function commandOption(group: Group, key: string, option: is.Option): CommandOption {
  const flag = option.flag ?? key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  const environment = `MONGREL2_FETCH_${flag.toUpperCase().replaceAll('-', '_')}`
  return { ...option, key: key as OptionKey, group, flag, environment }
}

/** A subcommand that takes options. */
export type Subcommand = 'serve' | 'dev' | 'fetch' | 'replay' | 'status' | 'doctor'

const GROUPS_OF: Record<Subcommand, readonly Group[]> = {
  serve: ['command', 'file', 'admin', 'serve', 'workers', 'server'],
  dev: ['command', 'file', 'dev', 'server'],
  fetch: ['command', 'file', 'server'],
  replay: ['command', 'file', 'server'],
  status: ['admin', 'status', 'output', 'file'],
  doctor: ['command', 'file', 'serve', 'workers', 'server', 'output'],
}

/** The options that a subcommand takes. */
export function optionsOf(command: Subcommand): CommandOption[] {
  return OPTIONS.filter(({ group }) => GROUPS_OF[command].includes(group))
}

/** The options that a subcommand takes as flags. */
export function flagsOf(command: Subcommand): CommandOption[] {
  return optionsOf(command).filter(({ key, help }) => key !== 'app' && help !== undefined)
}

/** A value and its source, such as `--max-in-flight` or `MONGREL2_FETCH_MAX_IN_FLIGHT`. */
export interface OptionSource {
  readonly value: unknown
  readonly from: string
}

export type OptionSources = ReadonlyMap<OptionKey, OptionSource>

/** The checked value of an option of the command, or its default. */
export function checkedValue<K extends keyof typeof OWN>(sources: OptionSources, key: K): is.Checked<typeof OWN>[K] {
  const { value, from = key } = sources.get(key) ?? {}
  return OWN[key].check(from, value) as is.Checked<typeof OWN>[K]
}

/** One text or several. */
function textsOf(more: Partial<is.Option>): is.Option<readonly string[]> {
  const list = is.texts({ initial: [] })
  return is.checkedBy((name, value) => list.check(name, typeof value === 'string' ? [value] : value), {
    ...more,
    read: is.wordsIn,
    repeated: true,
    help: `${more.help} The flag can be given again; in the variable they are separated by spaces, which none can have there.`,
  })
}

function checkLogger(name: string, logger: unknown = 'console'): string | Logger {
  if (isObject(logger)) {
    is.LOGGER.check(name, logger)
    return logger
  }
  if (typeof logger === 'string' && /^(?:console$|zeromq:.)/.test(logger)) return logger
  throw invalid(name, LOGGER_FORM, logger)
}
