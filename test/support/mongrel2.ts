import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { FrontOptions, FrontRoute } from '../../src/gateway/index.ts'
import type { HandlerConfig, HostConfig, Mongrel2Settings, ProxyConfig } from '../../src/mongrel2/index.ts'
import { loadConfigText } from '../../src/mongrel2/load-config.ts'
import { renderMongrel2Config } from '../../src/mongrel2/render-config.ts'
import { guardChild, guardDirectory } from '../../src/runtime/process/orphan-guard.ts'
import type { TestCertificate } from './certificate.ts'
import { embedded } from './embedded.ts'
import { freePorts } from './free-port.ts'
import type { Network } from './network.ts'

/** One Handler of the configuration, or a Proxy. */
export interface Route {
  /** Default: json, as Mongrel2's. */
  protocol?: 'json' | 'tnetstring'
  recvIdent?: string
  /** Whether replies to message sockets go out as they are. */
  rawPayload?: boolean
  /** Other routes to the same Handler. */
  also?: readonly string[]
  /** Makes it a Proxy to the HTTP server at this port. */
  proxyPort?: number
}

export interface Mongrel2TestOptions {
  /** The Handlers by their routes. Default: one at `/`. */
  routes?: Record<string, Route>
  /** The names of Hosts, each with a Handler of its own at `/`; `endpoints` then are by these names. */
  hosts?: readonly string[]
  /** The protocol of the default route. */
  protocol?: 'json' | 'tnetstring'
  /** Mongrel2's settings beside those that a test run needs. */
  settings?: Mongrel2Settings
  /** Changes the configuration, to one that `renderMongrel2Config` refuses. */
  edit?: (configuration: string) => string
  /** Bodies over 20 KiB: stored in files, sent as they come, or refused. Default: stored. */
  uploads?: 'file' | 'stream' | 'none'
  flowControl?: boolean
  /** Handlers listen on tcp instead of ipc, on this machine's loopback or on an address. */
  tcp?: boolean | string
  /** It runs in this network; its `send_spec` is at the second address there, its `recv_spec` at the third, and browsers have the first. */
  network?: Network
  /** Whether the embedded front runs in Mongrel2's place. Default: with FRONT=embedded. */
  embedded?: boolean
  /** Makes it speak TLS with this certificate. */
  certificate?: TestCertificate
  /** The template of upload files. Default: `tmp/mongrel2.upload.XXXXXX`. */
  tempStore?: string
}

const UUID = 'f400bf85-4538-4f7a-8908-67e313d515c2'
/** The user and group `nobody` of Linux: started as root, Mongrel2 goes on as the owner of its directory. */
const NOBODY = 65_534
const START_TIMEOUT = 10_000
/** Of the embedded front, in bytes: Mongrel2 has no such bound. */
const MAX_WEBSOCKET_MESSAGE = 1024 * 1024 * 1024

/** The settings for each kind of uploads. */
const UPLOADS: Readonly<Record<NonNullable<Mongrel2TestOptions['uploads']>, Mongrel2Settings>> = {
  none: {},
  stream: { 'upload.stream': true },
  file: { 'upload.temp_store': 'tmp/mongrel2.upload.XXXXXX' },
}

const FRONT_PROCESS = fileURLToPath(new URL('front-process.mjs', import.meta.url))

/** Starts a real Mongrel2 in a temporary directory, on a port that was free; with FRONT=embedded the embedded front in its place. */
export async function startMongrel2(options: Mongrel2TestOptions = {}): Promise<Mongrel2> {
  for (let attempt = 1; ; attempt++) {
    const mongrel2 = await Mongrel2.create(options)
    try {
      await mongrel2.start()
      return mongrel2
    } catch (error) {
      await mongrel2.stop()
      if (!(error instanceof PortTakenError) || attempt === 5) throw error
    }
  }
}

/** Mongrel2 could not listen where it was told to: another was quicker to take the port. */
class PortTakenError extends Error {}

export class Mongrel2 {
  /** Where browsers connect. */
  readonly port: number
  /** Its directory, which is its chroot when root starts it. */
  readonly directory: string
  /** The endpoints by their routes, as `SEND_SPEC,RECV_SPEC`. */
  readonly endpoints: Record<string, string>
  readonly #removeDirectory: () => void
  readonly #onFront: boolean
  readonly #network: Network | undefined
  #child: ChildProcess | undefined

  private constructor(
    port: number,
    directory: string,
    endpoints: Record<string, string>,
    onFront: boolean,
    network?: Network,
  ) {
    this.#onFront = onFront
    this.#network = network
    this.port = port
    this.directory = directory
    this.endpoints = endpoints
    this.#removeDirectory = guardDirectory(directory)
  }

  static async create(options: Mongrel2TestOptions): Promise<Mongrel2> {
    const directory = await mkdtemp(join(tmpdir(), 'm2-'))
    for (const name of ['run', 'logs', 'tmp']) await mkdir(join(directory, name))
    const { hosts, certificate } = options
    const routes = hosts?.map((host): [string, Route] => [host, {}]) ?? Object.entries(options.routes ?? { '/': {} })
    const { network, tcp = network !== undefined } = options
    const count = tcp ? 1 + 2 * routes.length : 1
    const [port = 0, ...handlerPorts] = await freePorts(count)
    const endpoints: Record<string, string> = {}
    const frontRoutes: FrontRoute[] = []
    const targets = routes.map(([route, its], n): HandlerConfig | ProxyConfig => {
      const { protocol = options.protocol ?? 'json', recvIdent = '', rawPayload = false, also = [], proxyPort } = its
      if (proxyPort !== undefined) return { addr: '127.0.0.1', port: proxyPort }
      const host = network?.second.there ?? (typeof tcp === 'string' ? tcp : '127.0.0.1')
      const [sendSpec, recvSpec] = tcp
        ? [`tcp://${host}:${handlerPorts[2 * n]}`, `tcp://${network?.third.there ?? host}:${handlerPorts[2 * n + 1]}`]
        : [`ipc://run/send${n}`, `ipc://run/recv${n}`]
      endpoints[route] = `${sendSpec},${recvSpec}`.replaceAll('ipc://run/', `ipc://${directory}/run/`)
      const sendIdent = `34f9ceee-cd52-4b7f-b197-88bf2f0ec37${n}`
      // It has no routes to message sockets: tests of them are not run on it.
      for (const path of [route, ...also].filter((path) => path.startsWith('/'))) {
        frontRoutes.push({ path, sendSpec, recvSpec, protocol, sendIdent, recvIdent })
      }
      return { sendSpec, recvSpec, sendIdent, recvIdent, protocol, rawPayload }
    })
    const onFront = options.embedded ?? embedded
    if (onFront) {
      if (hosts !== undefined) throw new Error('the embedded front has no Hosts')
      if (certificate !== undefined) throw new Error('the embedded front has no TLS')
      const front = { port, routes: frontRoutes, ...frontSettings(options) } satisfies FrontOptions
      await writeFile(join(directory, 'front.json'), JSON.stringify(front))
      return new Mongrel2(port, directory, endpoints, onFront)
    }
    const settings: Mongrel2Settings = {
      'server.daemonize': false,
      'limits.buffer_size': 16384,
      ...UPLOADS[options.uploads ?? 'file'],
      ...(options.tempStore !== undefined && { 'upload.temp_store': options.tempStore }),
      ...(options.flowControl && { 'download.flow_control': true }),
      ...(certificate !== undefined && { certdir: './' }),
      ...options.settings,
    }
    const hostConfigs = hosts?.map(
      (name, n): HostConfig => ({ name, routes: { '/': targets[n] as HandlerConfig } }),
    ) ?? [
      {
        name: 'localhost',
        routes: Object.fromEntries(
          routes.flatMap(([route, { also = [] }], n) =>
            [route, ...also].map((pattern) => [pattern, targets[n] as HandlerConfig]),
          ),
        ),
      },
    ]
    const bindAddr = network?.there ?? '127.0.0.1'
    const server = { uuid: UUID, name: 'test', bindAddr, port, tls: certificate !== undefined, hosts: hostConfigs }
    if (certificate !== undefined) {
      await writeFile(join(directory, `${UUID}.crt`), certificate.cert)
      await writeFile(join(directory, `${UUID}.key`), certificate.key, { mode: 0o600 })
    }
    const { edit = (text: string) => text } = options
    await loadConfigText(directory, edit(renderMongrel2Config({ servers: [server], settings })))
    if (process.getuid?.() === 0) {
      for (const name of ['run', 'logs', 'tmp', 'config.sqlite', '.'])
        await chown(join(directory, name), NOBODY, NOBODY)
      await chmod(directory, 0o755)
    }
    return new Mongrel2(port, directory, endpoints, onFront, network)
  }

  /** Where it listens for browsers. */
  get host(): string {
    return this.#network?.there ?? '127.0.0.1'
  }

  /** The endpoint of the first route. */
  get endpoint(): string {
    return Object.values(this.endpoints)[0] as string
  }

  /** Where its control port listens. */
  get controlPort(): string {
    return `ipc://${this.directory}/run/control`
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Starts it and resolves when it takes connections, from browsers and from handlers. */
  async start(): Promise<void> {
    this.startSync()
    const deadline = Date.now() + START_TIMEOUT
    while (!(await this.#listens())) {
      if (hasEnded(this.#child)) {
        const log = await this.errorLog()
        throw /Address already in use|EADDRINUSE/.test(log)
          ? new PortTakenError(log)
          : new Error(`Mongrel2 ended: ${log}`)
      }
      if (Date.now() > deadline) throw new Error(`Mongrel2 does not come up: ${await this.errorLog()}`)
      await sleep(5)
    }
  }

  /** Starts it without waiting for anything. */
  startSync(): void {
    rmSync(this.#pidFile, { force: true })
    const output = openSync(this.#output, 'w')
    const command = this.#onFront ? [process.execPath, FRONT_PROCESS] : ['mongrel2', 'config.sqlite', UUID]
    const inside = this.#network === undefined ? [] : ['ip', 'netns', 'exec', this.#network.name]
    const [program = '', ...args] = [...inside, ...command]
    const child = spawn(program, args, {
      cwd: this.directory,
      stdio: ['ignore', output, output],
    })
    closeSync(output)
    guardChild(child, 'KILL')
    this.#child = child
  }

  /** Ends it and resolves when it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child
    if (child === undefined || hasEnded(child)) return
    const exit = once(child, 'exit')
    child.kill(signal)
    await exit
  }

  /** Kills it; it is gone before another can take its port. */
  killSync(): void {
    const child = this.#child
    child?.kill('SIGKILL')
    // Ended, it stays in the table of processes until the event loop runs again.
    while (child !== undefined && !/\) Z /.test(readFileSync(`/proc/${child.pid}/stat`, 'latin1'))) {
      spawnSync('sleep', ['0.01'])
    }
  }

  /** Ends it and starts it again at the same addresses. */
  async restart({ signal = 'SIGTERM' }: { signal?: NodeJS.Signals } = {}): Promise<void> {
    await this.kill(signal)
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.start()
      } catch (error) {
        if (!(error instanceof PortTakenError) || attempt === 20) throw error
        await sleep(100) // whoever connects somewhere may have the port for a while
      }
    }
  }

  /** Ends it and removes its directory. */
  async stop(): Promise<void> {
    await this.kill()
    this.#removeDirectory()
  }

  /** What it has to say: up to its chroot on its output, from then on in its log. */
  async errorLog(): Promise<string> {
    const parts = [this.#output, join(this.directory, 'logs/error.log')]
    return (await Promise.all(parts.map((path) => readFile(path, 'utf8').catch(() => '')))).join('')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  get #pidFile(): string {
    return join(this.directory, 'run/mongrel2.pid')
  }

  get #output(): string {
    return join(this.directory, 'logs/output.log')
  }

  /** It writes its process id when it has the port, which tells it from another that has it; then it binds for the handlers, and last, in a task of its own, its control port. */
  async #listens(): Promise<boolean> {
    const id = await readFile(this.#pidFile, 'utf8').catch(() => '')
    if (id !== String(this.pid)) return false
    const specs = Object.values(this.endpoints).flatMap((endpoint) => endpoint.split(','))
    if (!this.#onFront) specs.push(this.controlPort)
    return (
      await Promise.all([
        accepts({ host: this.host, port: this.port }),
        ...specs.map((spec) => accepts(addressOf(spec))),
      ])
    ).every((accepted) => accepted)
  }
}

/** The options that stand for Mongrel2's settings. Bodies that it would store in files are streamed. */
function frontSettings({ uploads, flowControl = false, settings = {} }: Mongrel2TestOptions): Partial<FrontOptions> {
  const {
    no_clobber_xff: noClobberXff = 0,
    'limits.buffer_size': bufferSize = 16384,
    'limits.content_length': contentLength,
    ...others
  } = settings
  if (Object.keys(others).length > 0) throw new Error(`the embedded front has no ${Object.keys(others).join()}`)
  return {
    uploads: uploads === 'none' ? 'none' : 'stream',
    flowControl,
    noClobberXff: Number(noClobberXff) !== 0,
    bufferSize: Number(bufferSize),
    ...(contentLength === undefined ? {} : { contentLength: Number(contentLength) }),
    maxMessageSize: MAX_WEBSOCKET_MESSAGE,
  }
}

function hasEnded(child: ChildProcess | undefined): boolean {
  return child === undefined || child.exitCode !== null || child.signalCode !== null
}

function addressOf(spec: string): { path: string } | { host: string; port: number } {
  if (spec.startsWith('ipc://')) return { path: spec.slice('ipc://'.length) }
  const [host = '', port] = spec.slice('tcp://'.length).split(':')
  return { host, port: Number(port) }
}

function accepts(address: { path: string } | { host: string; port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address)
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
