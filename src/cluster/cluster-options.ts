import { boolean, invalid, isObject, known, loggerOf, optionalSignal, texts } from '../options/option-check.ts'
import { checkOptions, type EndpointInput, type EndpointSettings, type Mongrel2Options } from '../options/options.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import type { Logger } from '../runtime/log.ts'
import type { AppSource } from '../workers/worker/config.ts'
import { type ClusterAddress, isLocal, isLoopback, parseClusterAddress } from './cluster-address.ts'
import type { DoorSecurity } from './door.ts'
import { checkKey, checkKeyPair, type KeyPair } from './key-pair.ts'
import { type NodeApp, nodeAppOf } from './node-app.ts'

/** How workers on other machines join the dispatcher of this one. */
export interface ClusterOptions {
  /** Where to listen for nodes: `tcp://0.0.0.0:1717`. */
  listen: string
  /** This machine's keys, as `createKeyPair` makes them. Without them nothing is encrypted, and everybody can join. */
  keys?: KeyPair
  /** The public keys of the nodes that may join. */
  nodes?: readonly string[]
  /** Whether to do without keys where other machines can connect. Default: false. */
  insecure?: boolean
  /**
   * Mongrel2's Handlers as the nodes reach them, in the order of the option `zeromq`: where that has addresses of this machine only.
   * Default: as they are.
   */
  zeromq?: EndpointInput | readonly EndpointInput[]
}

/** The options, checked. */
export interface ClusterSettings {
  readonly address: ClusterAddress
  readonly security: DoorSecurity | undefined
  readonly app: NodeApp
  /** The options for workers on nodes. */
  readonly options: Mongrel2Options
}

const OPTIONS: readonly (keyof ClusterOptions)[] = ['listen', 'keys', 'nodes', 'insecure', 'zeromq']
const REMEDY = 'make keys by `mongrel2-fetch keygen`, or say insecure where nobody else can connect'

/**
 * Checks a main node's options.
 *
 * @param app What its workers load.
 * @param options Theirs.
 * @throws Mongrel2Error `invalid_option`
 */
export function checkClusterOptions(
  cluster: ClusterOptions,
  app: AppSource,
  options: Mongrel2Options,
): ClusterSettings {
  if (!isObject(cluster)) throw invalid('cluster', '{ listen, keys, nodes }', cluster)
  known('option of cluster', cluster, OPTIONS)
  const address = parseClusterAddress('cluster.listen', cluster.listen, 0)
  const insecure = boolean('cluster.insecure', cluster.insecure, false)
  const { keys, nodes = [] } = cluster
  if (keys === undefined && !insecure && !isLoopback(address.host)) {
    throw new Mongrel2Error(
      'invalid_option',
      `cluster: expected keys, since others can connect to ${address.spec}: ${REMEDY}`,
    )
  }
  if (!Array.isArray(nodes)) throw invalid('cluster.nodes', 'a list of public keys', nodes)
  const allowed = new Set(nodes.map((key: unknown) => checkKey('cluster.nodes', key)))
  const own = cluster.zeromq === undefined ? options : { ...options, zeromq: cluster.zeromq }
  checkEndpoints(checkOptions(() => new Response(), own).endpoints, options, address)
  return {
    address,
    security: keys && { keys: checkKeyPair('cluster.keys', keys), nodes: allowed },
    app: nodeAppOf(app),
    options: own,
  }
}

/** Workers on nodes publish to Mongrel2 themselves; they do not pull. */
function checkEndpoints(seen: readonly EndpointSettings[], options: Mongrel2Options, address: ClusterAddress): void {
  const count = [options.zeromq].flat().length
  if (seen.length !== count) throw invalid('cluster.zeromq', `as many Handlers as zeromq has, ${count}`, seen)
  if (isLoopback(address.host)) return
  for (const { recvSpec, controlPort } of seen) {
    for (const spec of [recvSpec, controlPort]) {
      if (spec === undefined || !isLocal(spec)) continue
      throw new Mongrel2Error(
        'invalid_option',
        `cluster: other machines cannot reach Mongrel2 at ${spec}: let its Handler have an address that they can reach, or say in ` +
          'cluster.zeromq how they reach it',
      )
    }
  }
}

/** How this machine joins a main node's dispatcher. Times are in milliseconds. */
export interface JoinOptions {
  /** The main node: `tcp://KEY@HOST:PORT` with its public key, or `tcp://HOST:PORT` where it does without. */
  main: string
  /** This node's keys, as `createKeyPair` makes them; the main node has to know the public one. */
  keys?: KeyPair
  /** Whether to do without keys though other machines could answer in the main node's place. Default: false. */
  insecure?: boolean
  /**
   * Mongrel2's chroot as seen from this node, where that is on a file system that they share: then workers here get uploads that Mongrel2
   * has stored in files, too. Default: not seen.
   */
  chroot?: string
  /** Arguments for Node before the program, in the workers. Default: this process' own. */
  execArgv?: readonly string[]
  /** Where lines go. Default: the console, for warnings and errors. */
  logger?: Mongrel2Options['logger']
  /** Aborted, it leaves as `close()` does. */
  signal?: AbortSignal
}

/** The options, checked. */
export interface JoinSettings {
  readonly address: ClusterAddress
  readonly security: { readonly keys: KeyPair; readonly main: string } | undefined
  readonly chroot: string | undefined
  readonly execArgv: readonly string[]
  readonly logger: Logger
  readonly signal: AbortSignal | undefined
}

const JOIN_OPTIONS: readonly (keyof JoinOptions)[] = [
  'main',
  'keys',
  'insecure',
  'chroot',
  'execArgv',
  'logger',
  'signal',
]

/**
 * Checks a node's options.
 *
 * @throws Mongrel2Error `invalid_option`
 */
export function checkJoinOptions(options: JoinOptions): JoinSettings {
  if (!isObject(options)) throw invalid('options', 'an object with at least main', options)
  known('option', options, JOIN_OPTIONS)
  const address = parseClusterAddress('main', options.main, 1)
  return {
    address,
    security: securityOf(options, address),
    chroot: chrootOf(options.chroot),
    execArgv: texts('execArgv', options.execArgv, process.execArgv),
    logger: loggerOf(options.logger),
    signal: optionalSignal('signal', options.signal),
  }
}

function securityOf(options: JoinOptions, { key, host, spec }: ClusterAddress): JoinSettings['security'] {
  const insecure = boolean('insecure', options.insecure, false)
  if (key !== undefined) {
    if (options.keys === undefined) throw invalid('keys', "this node's keys, since the main node has some", undefined)
    return { keys: checkKeyPair('keys', options.keys), main: key }
  }
  if (!insecure && !isLoopback(host)) {
    throw new Mongrel2Error(
      'invalid_option',
      `main: expected tcp://KEY@HOST:PORT with the main node's public key, got ${spec}: ${REMEDY}`,
    )
  }
  return undefined
}

function chrootOf(chroot: unknown): string | undefined {
  if (chroot !== undefined && (typeof chroot !== 'string' || chroot === '')) throw invalid('chroot', 'a path', chroot)
  return chroot
}
