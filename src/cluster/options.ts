import { checkOptions, type Mongrel2Options } from '../exchange/options.ts'
import type { EndpointInput, EndpointSettings } from '../options/endpoint.ts'
import * as is from '../options/option.ts'
import { invalid, Mongrel2Error } from '../runtime/errors.ts'
import { WORKER_POOL_OPTIONS, type WorkerPoolOptions, type WorkersSettings } from '../workers/options.ts'
import { type ClusterAddress, isLocal, isLoopback, parseClusterAddress } from './cluster-address.ts'
import type { ClusterSecurity } from './cluster-listener.ts'
import { checkKey, checkKeyPair, type KeyPair } from './key-pair.ts'
import { type NodeApp, nodeAppOf } from './node-app.ts'

/** The options of `serveWithWorkers`. Times are in milliseconds, sizes in bytes. */
export interface WorkersOptions extends WorkerPoolOptions {
  /** Lets workers on other machines join. Each node runs as many as `workers` says, by default one for each of its processors. */
  cluster?: ClusterOptions
}

/** How workers on other machines join this machine's dispatcher. */
export interface ClusterOptions {
  /** Where to listen for nodes: `tcp://0.0.0.0:1717`. */
  listen: string
  /** This machine's keys, as `createKeyPair` makes them. Without keys nothing is encrypted, and any machine can join. */
  keys?: KeyPair
  /** The public keys of the nodes that may join. */
  nodes?: readonly string[]
  /** Whether to allow no keys although other machines can connect. Default: false. */
  insecure?: boolean
  /**
   * Mongrel2's Handlers as nodes reach them, in the order of the option `zeromq`, if that has addresses of this machine. This machine alone serves
   * those at its end that are left out. Default: `zeromq`.
   */
  zeromq?: EndpointInput | readonly EndpointInput[]
}

/** How this machine joins a main node's dispatcher. Times are in milliseconds. */
export interface JoinOptions {
  /** The main node: `tcp://KEY@HOST:PORT` with its public key, or `tcp://HOST:PORT` if it has none. */
  main: string
  /** This node's keys, as `createKeyPair` makes them; the main node has to know the public one. */
  keys?: KeyPair
  /** Whether to allow no keys although another machine could pose as the main node. Default: false. */
  insecure?: boolean
  /** Mongrel2's chroot as seen from this node, if they share a file system: then workers here get stored uploads too. Default: not seen. */
  chroot?: string
  /** Arguments for Node before the program, in the workers. Default: this process' own. */
  execArgv?: readonly string[]
  /** The destination of log lines. Default: the console, for warnings and errors. */
  logger?: Mongrel2Options['logger']
  /** Aborted, it leaves as `close()` does. */
  signal?: AbortSignal
}

export const CLUSTER_OPTIONS = {
  listen: is.unchecked<string>(),
  keys: is.unchecked<KeyPair | undefined>(),
  nodes: is.option<readonly string[]>('a list of public keys', Array.isArray, { initial: [] }),
  insecure: is.boolean(false),
  zeromq: is.unchecked<ClusterOptions['zeromq']>(),
} satisfies is.Described<ClusterOptions>
const checkCluster = is.checkerOf('option of cluster', '{ listen, keys, nodes }', CLUSTER_OPTIONS)

export const WORKERS_OPTIONS = { ...WORKER_POOL_OPTIONS, cluster: is.unchecked<ClusterOptions | undefined>() }
const checkWorkers = is.checkerOf(
  'option of serveWithWorkers',
  'an object with at least app and options',
  WORKERS_OPTIONS satisfies is.Described<WorkersOptions>,
)

export const JOIN_OPTIONS = {
  main: is.checkedBy((name, main) => parseClusterAddress(name, main, 1)),
  keys: is.unchecked<KeyPair | undefined>(),
  insecure: is.boolean(false),
  chroot: is.text('a path'),
  execArgv: WORKER_POOL_OPTIONS.execArgv,
  logger: is.LOGGER,
  signal: is.SIGNAL,
} satisfies is.Described<Omit<JoinOptions, 'main'> & { main: ClusterAddress }>
const checkJoin = is.checkerOf('option', 'an object with at least main', JOIN_OPTIONS)

const REMEDY = 'make keys by `mongrel2-fetch keygen`, or set insecure if no other machine can connect'

/** The options, checked. */
export interface ClusterSettings {
  readonly address: ClusterAddress
  readonly security: ClusterSecurity | undefined
  readonly app: NodeApp
  /** The options for workers on nodes. */
  readonly options: Mongrel2Options
}

/** Checks the options of `serveWithWorkers`; throws a Mongrel2Error `invalid_option`. */
export function checkWorkersOptions(
  options: WorkersOptions,
): WorkersSettings & { cluster: ClusterSettings | undefined } {
  const { cluster, ...checked } = checkWorkers(options)
  const settings = checkOptions(() => new Response(), checked.options)
  const { maxRequests, maxRequestsJitter } = checked
  if (maxRequestsJitter > 0 && maxRequests === 0)
    throw invalid('maxRequestsJitter', 'maxRequests beside it', maxRequestsJitter)
  return {
    ...checked,
    settings,
    workersGiven: options.workers,
    cluster: cluster && clusterSettingsOf(cluster, checked),
  }
}

function clusterSettingsOf(cluster: ClusterOptions, { app, options }: WorkerPoolOptions): ClusterSettings {
  const { listen, keys, nodes, insecure, zeromq } = checkCluster(cluster, 'cluster')
  const address = parseClusterAddress('cluster.listen', listen, 0)
  if (keys === undefined && !insecure && !isLoopback(address.host)) {
    throw new Mongrel2Error(
      'invalid_option',
      `cluster: expected keys, since others can connect to ${address.spec}: ${REMEDY}`,
    )
  }
  const allowed = new Set(nodes.map((key) => checkKey('cluster.nodes', key)))
  const own = zeromq === undefined ? options : { ...options, zeromq }
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
  if (seen.length > count) throw invalid('cluster.zeromq', `no more Handlers than zeromq has, ${count}`, seen)
  if (isLoopback(address.host)) return
  for (const { recvSpec, controlPort } of seen) {
    for (const spec of [recvSpec, controlPort]) {
      if (spec === undefined || !isLocal(spec)) continue
      throw new Mongrel2Error(
        'invalid_option',
        `cluster: other machines cannot reach Mongrel2 at ${spec}: give its Handler an address that they can reach, or name in ` +
          'cluster.zeromq the address by which they reach it',
      )
    }
  }
}

/** A node's options, checked. */
export interface JoinSettings
  extends Pick<is.Checked<typeof JOIN_OPTIONS>, 'chroot' | 'execArgv' | 'logger' | 'signal'> {
  readonly address: ClusterAddress
  readonly security: { readonly keys: KeyPair; readonly main: string } | undefined
}

/** Checks a node's options; throws a Mongrel2Error `invalid_option`. */
export function checkJoinOptions(options: JoinOptions): JoinSettings {
  const { main: address, keys, insecure, ...rest } = checkJoin(options)
  const { key, host, spec } = address
  if (key !== undefined) {
    if (keys === undefined) throw invalid('keys', "this node's keys, since the main node has some", undefined)
    return { address, security: { keys: checkKeyPair('keys', keys), main: key }, ...rest }
  }
  if (!insecure && !isLoopback(host)) {
    throw new Mongrel2Error(
      'invalid_option',
      `main: expected tcp://KEY@HOST:PORT with the main node's public key, got ${spec}: ${REMEDY}`,
    )
  }
  return { address, security: undefined, ...rest }
}
