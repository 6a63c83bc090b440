import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { isToken } from '../../admin/token.ts'
import { isLoopback } from '../../cluster/cluster-address.ts'
import { type KeyPair, readKeyPair } from '../../cluster/key-pair.ts'
import {
  type ClusterOptions,
  checkJoinOptions,
  checkWorkersOptions,
  type JoinOptions,
  type WorkersOptions,
} from '../../cluster/options.ts'
import { checkOptions, type Mongrel2Options, SERVER_OPTIONS } from '../../exchange/options.ts'
import type { ListenAt } from '../../gateway/listen.ts'
import { type Places, PROTOCOLS } from '../../gateway/options.ts'
import { MAX_DELAY } from '../../options/option.ts'
import { invalid } from '../../runtime/errors.ts'
import { type Logger, messageOf, safeLogger } from '../../runtime/log.ts'
import { ownModule } from '../../runtime/process/own-modules.ts'
import type { AppGatewaySettings } from '../serve/app-gateway.ts'
import type { GivenCertificate } from '../shared/certificate.ts'
import { CommandError } from '../shared/exit-code.ts'
import { levelledLogger, terminalLogger, zeromqLogger } from '../shared/loggers.ts'
import {
  checkedValue,
  KEY_FILE,
  LOGGER_FORM,
  OPTIONS,
  type OptionKey,
  type OptionSources,
  optionsOf,
  type Subcommand,
} from './command-options.ts'
import { withDatabase } from './database-sources.ts'
import { gatewayEndpoint } from './gateway-endpoint.ts'
import {
  type ConfigFile,
  readConfigFile,
  sourcesInEnvironment,
  sourcesInFile,
  usualSources,
  withSourceNames,
} from './sources.ts'

/** The settings of a command, from flags, environment, configuration file and defaults. */
export interface CommandSettings {
  /** The module with the handler, an absolute path. */
  readonly app: string
  /** The module's export that is the handler. */
  readonly exportName: string
  /** The options of `serveMongrel2`, checked. */
  readonly options: Mongrel2Options
  /** The options of `serveWithWorkers`, checked; undefined if the app runs in this process. */
  readonly workers: Omit<WorkersOptions, 'app' | 'options'> | undefined
  /** The other ways in than Mongrel2. */
  readonly gateway: AppGatewaySettings | undefined
  /** Where the state is shown. */
  readonly admin: AdminSettings | undefined
  /** Whether worker processes pull themselves. */
  readonly direct: boolean
  /** Files whose change reloads the app. */
  readonly touchReload: readonly string[]
  /** The path of the configuration file, if there is one. */
  readonly config: string | undefined
  readonly logger: Logger
  /** Time for open requests after the first signal, in milliseconds. */
  readonly closeTimeout: number
  /** Where `dev` listens for browsers. */
  readonly port: number
  /** The IP address where `dev` listens for browsers. */
  readonly listen: string
  /** Glob patterns of files that `dev` watches beside the app's modules. */
  readonly watchFiles: { readonly globs: readonly string[]; readonly from: string }
  /** Whether `dev` opens the app in the browser. */
  readonly open: boolean
  /** The certificate with which `dev` speaks TLS; undefined if it does not. */
  readonly tls: TlsSettings | undefined
}

/** The admin address. */
export interface AdminSettings {
  readonly at: ListenAt
  /** What clients have to send. */
  readonly token: string | undefined
  /** How the address was given, such as `--admin`. */
  readonly from: string
}

/** A certificate that `dev` makes, or the paths of one. */
export type TlsSettings = 'self-signed' | GivenCertificate

/** Options from all sources. */
interface Gathered {
  readonly command: Subcommand
  readonly sources: OptionSources
  readonly file: ConfigFile | undefined
  readonly logger: Logger
  /** The options of a node, which has no app. Sources after that of `cluster`, such as a shared file, do not count. */
  readonly joins: OptionSources | undefined
}

/**
 * Gathers the options of a command: a flag overrides the environment, and that the configuration file. Ignores options of
 * other commands. Throws Mongrel2Error `invalid_option` and CommandError `usage`, which name the option's source.
 */
export async function gather(command: Subcommand, flags: OptionSources): Promise<Gathered> {
  const warnings: string[] = []
  const environment = sourcesInEnvironment(process.env, (line) => warnings.push(line))
  const file = await readConfigFile(checkedValue(flags, 'config') ?? checkedValue(environment, 'config'))
  const usual = command === 'dev' ? usualSources(process.env) : new Map()
  const all: OptionSources[] = [flags, environment, usual, file === undefined ? new Map() : sourcesInFile(file)]
  const known = new Set(optionsOf(command).map(({ key }) => key))
  const merge = (used: OptionSources[]) =>
    new Map(used.reverse().flatMap((place) => [...place].filter(([key]) => known.has(key))))
  const merged = merge([...all])
  const logger = loggerOf(merged)
  const joined = merge(all.slice(0, all.findIndex((place) => place.has('cluster')) + 1))
  const joins = joined.has('cluster') && !joined.has('app') ? joined : undefined
  // The main node tells a node its Handlers.
  const sources = joins === undefined ? await withDatabase(merged, (line) => warnings.push(line)) : merged
  for (const line of warnings) logger.warn?.(`mongrel2-fetch: ${line}`)
  return { command, sources, file, logger, joins }
}

/** Gathers and makes the settings of a command that has an app. */
export async function settingsOf(command: Subcommand, flags: OptionSources): Promise<CommandSettings> {
  return settingsFrom(await gather(command, flags))
}

/** Makes the settings of a command that has an app; throws CommandError `usage`, naming the option's source. */
export function settingsFrom({ command, sources, file, logger }: Gathered): CommandSettings {
  const app = checkedValue(sources, 'app') ?? missing('an app, such as app.ts, as the argument')
  const certificate = certificateOf(command, sources)
  const gateway = gatewayOf(sources, certificate)
  const admin = adminOf(sources)
  if (admin !== undefined) checkReach(admin)
  const options = serverOptions(sources, gateway, logger)
  const workers = workersOf(sources, options, gateway)
  const touchReload = checkedValue(sources, 'touchReload')
  if (workers === undefined && touchReload.length > 0)
    throw new CommandError('usage', `${sources.get('touchReload')?.from} needs workers to replace: add -p 1`)
  return {
    app: resolve(app),
    exportName: checkedValue(sources, 'export'),
    options,
    workers,
    gateway,
    admin,
    direct: isDirect(sources),
    touchReload,
    config: file?.path,
    logger,
    closeTimeout: checkedValue(sources, 'closeTimeout'),
    port: checkedValue(sources, 'port'),
    listen: checkedValue(sources, 'listen'),
    watchFiles: { globs: checkedValue(sources, 'watchFiles'), from: sources.get('watchFiles')?.from ?? '' },
    open: checkedValue(sources, 'open'),
    tls: checkedValue(sources, 'tls') ? (certificate ?? 'self-signed') : undefined,
  }
}

/** The options of `serveMongrel2`, checked. */
export function serverOptions(
  sources: OptionSources,
  gateway: AppGatewaySettings | undefined,
  logger: Logger,
): Mongrel2Options {
  const zeromq = sources.get('zeromq')?.value
  if (zeromq === undefined && gateway === undefined)
    missing(
      "--zeromq SEND_SPEC,RECV_SPEC, the two addresses of Mongrel2's Handler, --mongrel2 DATABASE or --http HOST:PORT; " +
        '`mongrel2-fetch dev` needs none of them',
    )
  const options: Record<string, unknown> = {
    overrideGlobalObjects: true,
    logger,
    zeromq: gateway === undefined ? zeromq : [zeromq ?? [], gateway.endpoint].flat(),
  }
  for (const { key, group } of OPTIONS) {
    const value = sources.get(key)?.value
    if (group !== 'server' || value === undefined) continue
    const [outer = key, inner] = key.split('.')
    options[outer] = inner === undefined ? value : { ...Object(options[outer]), [inner]: value }
  }
  if (sources.has('admin')) options.metrics ??= true
  const unchecked = options as object as Mongrel2Options
  withSourceNames(sources, () => checkOptions(() => new Response(), unchecked))
  return unchecked
}

/** The settings of the gateway, whose bodies and messages have the bounds of the app's server. */
function gatewayOf(sources: OptionSources, certificate: GivenCertificate | undefined): AppGatewaySettings | undefined {
  const places = Object.fromEntries(PROTOCOLS.map((protocol) => [protocol, checkedValue(sources, protocol)])) as Places
  if (Object.values(places).every((list) => list.length === 0)) return undefined
  const ofServer = (key: 'bodyTimeout' | 'maxMessageSize') => SERVER_OPTIONS[key].check(key, sources.get(key)?.value)
  const trust = sources.get('trustProxy')?.value ?? false
  const settings = {
    noClobberXff: trust !== false && trust !== 0,
    bodyTimeout: ofServer('bodyTimeout') || MAX_DELAY,
    maxMessageSize: ofServer('maxMessageSize'),
    bufferSize: checkedValue(sources, 'httpBufferSize'),
    headersTimeout: checkedValue(sources, 'httpHeadersTimeout'),
    sendTimeout: checkedValue(sources, 'httpSendTimeout'),
    keepAliveTimeout: checkedValue(sources, 'httpKeepAliveTimeout'),
    maxConnections: checkedValue(sources, 'httpMaxConnections'),
  }
  const from = PROTOCOLS.flatMap((protocol) => (places[protocol].length > 0 ? (sources.get(protocol)?.from ?? []) : []))
  return { places, from, certificate, endpoint: gatewayEndpoint(isDirect(sources)), settings }
}

/** The admin address, and its token if there is one; undefined without an address. Throws CommandError `usage`. */
export function adminOf(sources: OptionSources): AdminSettings | undefined {
  const at = checkedValue(sources, 'admin')
  const file = checkedValue(sources, 'adminTokenFile')
  const token = file === undefined ? undefined : tokenIn(file, sources.get('adminTokenFile')?.from ?? '')
  return at && { at, token, from: sources.get('admin')?.from ?? '' }
}

function tokenIn(file: string, from: string): string {
  try {
    const token = readFileSync(file, 'utf8').trim()
    if (isToken(token)) return token
  } catch (error) {
    throw new CommandError('usage', `${from}: ${messageOf(error)}`)
  }
  throw new CommandError('usage', `${from}: expected at least 16 printable characters of ASCII in ${file}`)
}

/** Other machines may connect only with a token. */
function checkReach({ at, token, from }: AdminSettings): void {
  if (token !== undefined || 'path' in at || isLoopback(at.host ?? '')) return
  throw new CommandError(
    'usage',
    `${from} cannot be used without --admin-token-file, since other machines can connect there: name a token's file, ` +
      'or an address such as 127.0.0.1:9090',
  )
}

const NEEDS_DISPATCHER: readonly OptionKey[] = ['threads', 'workerTimeout', 'maxRequests', 'maxRss']

function isDirect(sources: OptionSources): boolean {
  if (!checkedValue(sources, 'direct')) return false
  for (const key of NEEDS_DISPATCHER) {
    const from = sources.get(key)?.from
    if (from)
      throw new CommandError(
        'usage',
        `${from} cannot be used with ${sources.get('direct')?.from}: it needs the dispatcher`,
      )
  }
  return true
}

/** The options of workers; undefined if none is set. */
function workersOf(
  sources: OptionSources,
  options: Mongrel2Options,
  gateway: AppGatewaySettings | undefined,
): CommandSettings['workers'] {
  const set = OPTIONS.filter(({ key, group }) => group === 'workers' && sources.has(key))
  const cluster = clusterOf(sources, gateway)
  if (set.length === 0 && !isDirect(sources) && cluster === undefined) return undefined
  const { workers: _workers, ...values } = Object.fromEntries(set.map(({ key }) => [key, sources.get(key)?.value]))
  const processes = checkedValue(sources, 'workers')
  const workers: Omit<WorkersOptions, 'app' | 'options'> = {
    ...values,
    // Left out for `auto`: then each machine, a node too, has a worker for each of its processors.
    ...(processes !== 'auto' && { workers: processes }),
    ...(cluster && { cluster }),
  }
  withSourceNames(sources, () =>
    checkWorkersOptions({ ...workers, app: { module: ownModule('cli/modules/worker-app').href }, options }),
  )
  return workers
}

/** The options of a main node. */
function clusterOf(sources: OptionSources, gateway: AppGatewaySettings | undefined): ClusterOptions | undefined {
  const listen = checkedValue(sources, 'cluster')
  if (listen === undefined) return undefined
  const direct = sources.get('direct')
  if (direct !== undefined && direct.value !== false)
    throw new CommandError(
      'usage',
      `${direct.from} cannot be used with ${sources.get('cluster')?.from}: nodes have no part in it`,
    )
  const keys = keysOf(sources)
  const nodes = sources.get('clusterNodes')?.value as ClusterOptions['nodes']
  // Nodes cannot reach the gateway's endpoint, which is the last: this machine alone serves it.
  const others =
    gateway &&
    (sources.get('zeromq')?.value ?? missing(`--zeromq beside ${sources.get('cluster')?.from}, for the nodes`))
  const zeromq = (sources.get('clusterZeromq')?.value ?? others) as ClusterOptions['zeromq']
  const insecure = checkedValue(sources, 'insecure')
  return { listen, insecure, ...(keys && { keys }), ...(nodes && { nodes }), ...(zeromq && { zeromq }) }
}

/** The certificate that is given. Without TLS, files count for nothing: the configuration file may always name them. */
function certificateOf(command: Subcommand, sources: OptionSources): GivenCertificate | undefined {
  const dev = command === 'dev'
  if (dev ? !checkedValue(sources, 'tls') : checkedValue(sources, 'http').length === 0) {
    const from = [sources.get('tlsCert')?.from, sources.get('tlsKey')?.from].find((from) => from?.startsWith('--'))
    if (from !== undefined) throw new CommandError('usage', `${from} cannot be used without --${dev ? 'tls' : 'http'}`)
    return undefined
  }
  const [cert, key] = [checkedValue(sources, 'tlsCert'), checkedValue(sources, 'tlsKey')]
  const from = (['tlsCert', 'tlsKey'] as const).flatMap((key) => sources.get(key)?.from ?? []).join(' and ')
  if (cert !== undefined && key !== undefined) return { cert, key, from }
  if (from !== '')
    throw new CommandError('usage', `${from} needs ${cert === undefined ? '--tls-cert' : '--tls-key'} beside it`)
  return undefined
}

/** This machine's keys, from the given file or the usual one if that exists. */
function keysOf(sources: OptionSources): KeyPair | undefined {
  const path = checkedValue(sources, 'clusterKey')
  if (path === undefined && !existsSync(KEY_FILE)) return undefined
  try {
    return readKeyPair(path ?? KEY_FILE)
  } catch (error) {
    throw new CommandError('usage', `${sources.get('clusterKey')?.from ?? KEY_FILE}: ${messageOf(error)}`)
  }
}

/** The settings of a node. */
export interface NodeSettings {
  readonly options: JoinOptions
  readonly logger: Logger
  readonly closeTimeout: number
}

const NODE_OPTIONS = 'cluster clusterKey insecure chroot config logger logLevel logFormat closeTimeout execArgv'.split(
  ' ',
)

/** Makes the settings of a node, which gets all else from its main node; throws CommandError `usage`. */
export function nodeSettingsOf(joins: OptionSources, logger: Logger): NodeSettings {
  for (const [key, { from }] of joins) {
    if (!NODE_OPTIONS.includes(key) && from.startsWith('--'))
      throw new CommandError('usage', `${from} cannot be used without an app: the main node sets it`)
  }
  const keys = keysOf(joins)
  const chroot = joins.get('chroot')?.value as JoinOptions['chroot']
  const execArgv = joins.get('execArgv')?.value as JoinOptions['execArgv']
  const options: JoinOptions = {
    main: checkedValue(joins, 'cluster') ?? '',
    insecure: checkedValue(joins, 'insecure'),
    logger,
    ...(keys && { keys }),
    ...(chroot !== undefined && { chroot: resolve(chroot) }),
    ...(execArgv && { execArgv }),
  }
  withSourceNames(joins, () => checkJoinOptions(options))
  return { options, logger, closeTimeout: checkedValue(joins, 'closeTimeout') }
}

function loggerOf(sources: OptionSources): Logger {
  return levelledLogger(safeLogger(loggerNamed(sources)), checkedValue(sources, 'logLevel'))
}

function loggerNamed(sources: OptionSources): Logger {
  const logger = checkedValue(sources, 'logger')
  const format = checkedValue(sources, 'logFormat')
  if (typeof logger === 'object') {
    const from = sources.get('logFormat')?.from
    if (from)
      throw new CommandError(
        'usage',
        `${from} cannot be used with a logger that is an object: it has a form of its own`,
      )
    return logger
  }
  if (logger === 'console') return terminalLogger(format)
  try {
    return zeromqLogger(logger.slice('zeromq:'.length), format)
  } catch {
    // ZeroMQ's own error is less clear.
    throw invalid(sources.get('logger')?.from ?? 'logger', LOGGER_FORM, logger)
  }
}

function missing(what: string): never {
  throw new CommandError('usage', `expected ${what}`)
}
