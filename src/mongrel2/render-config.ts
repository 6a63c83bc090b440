import * as is from '../options/option.ts'
import { invalid, isObject, Mongrel2Error } from '../runtime/errors.ts'
import { quoted, spec, text } from './quoting.ts'
import { type Mongrel2Settings, SETTINGS } from './settings.ts'

/** A configuration of Mongrel2, for `renderMongrel2Config`. */
export interface Mongrel2Config {
  /** The servers; each is a Mongrel2 process of its own. */
  servers: readonly ServerConfig[]
  /** Settings by Mongrel2's names, for all servers. */
  settings?: Mongrel2Settings
}

/** A server: the directory and the port of one Mongrel2. */
export interface ServerConfig {
  /** Its name in the database, which `mongrel2 config.sqlite UUID` gets, and that of its certificate. */
  uuid: string
  /** Where clients connect. */
  port: number
  /** The hosts, of which there has to be one. */
  hosts: readonly HostConfig[]
  /** A name for people. Default: `main`. */
  name?: string
  /** The address to listen at. Default: `0.0.0.0`, every one of this machine. */
  bindAddr?: string
  /** Whether it speaks TLS. Needs the setting `certdir`. Default: false. */
  tls?: boolean
  /** The host for requests that name another. Default: the first. */
  defaultHost?: string
  /**
   * The directory to lock itself into when root starts it, relative to that in which it is started; empty for none. Default: `./`.
   */
  chroot?: string
  /** A file in the chroot. Default: `/logs/access.log`. */
  accessLog?: string
  /** A file in the chroot. Default: `/logs/error.log`. */
  errorLog?: string
  /** A file in the chroot. Default: `/run/mongrel2.pid`. */
  pidFile?: string
  /** `ipc://PATH` or `tcp://ADDRESS:PORT`. Default: that of the settings, or `ipc://run/control`. */
  controlPort?: string
}

/** A host, by the names that clients ask for. */
export interface HostConfig {
  /** Its name. */
  name: string
  /** A pattern of the names that are this host. Default: its name. */
  matching?: string
  /**
   * What answers, by the beginnings of paths; the longest that fits decides. `@NAME` and `<NAME` are for clients that send JSON and XML. A
   * Handler that stands on several routes is one.
   */
  routes: Readonly<Record<string, HandlerConfig | ProxyConfig | DirConfig>>
}

/** A route to programs such as `serveMongrel2`. */
export interface HandlerConfig {
  /** Where programs pull requests: `tcp://ADDRESS:PORT` or `ipc://PATH`, which Mongrel2 binds. */
  sendSpec: string
  /** Where programs publish replies. */
  recvSpec: string
  /** A name without spaces, `_` and `.`, with which Mongrel2 could not read a reply. */
  sendIdent: string
  /** How the name in a reply has to begin. Default: empty, any. */
  recvIdent?: string
  /** The form of the headers in a message; `tnetstring` is quicker. Default: `json`. */
  protocol?: 'json' | 'tnetstring'
  /**
   * Whether replies to clients that sent JSON or XML go out as they are, without base64. One Handler of a configuration can have it: m2sh crashes
   * at a second. Default: false.
   */
  rawPayload?: boolean
}

/** A route to an HTTP server. */
export interface ProxyConfig {
  /** Its address or name. */
  addr: string
  port: number
}

/** A route to files. */
export interface DirConfig {
  /** The directory in the chroot, with a slash at its end. */
  base: string
  /** The file for a path that ends in a slash. Default: `index.html`. */
  indexFile?: string
  /** The content type of files with an unknown extension. Default: `application/octet-stream`. */
  defaultCtype?: string
  /** Seconds for which Mongrel2 keeps what it knows of a file. Default: 0. */
  cacheTtl?: number
}

const REQUIRED = { required: true } as const
const PORT = is.count(undefined, [1, 65_535], REQUIRED)
const FILE = (initial: string) => text('a path', undefined, { initial })

const checkConfig = is.checkerOf('part of the configuration', '{ servers, settings }', {
  servers: listOf<ServerConfig>('at least one server'),
  settings: is.group('setting', 'an object of settings', SETTINGS),
})
const checkServer = is.checkerOf('option of a server', 'a server', {
  uuid: text('a name without slashes', (uuid) => /^[^/]+$/.test(uuid), REQUIRED),
  port: PORT,
  hosts: listOf<HostConfig>('at least one host'),
  name: text('a text', undefined, { initial: 'main' }),
  bindAddr: text('an address', undefined, { initial: '0.0.0.0' }),
  tls: is.boolean(false),
  defaultHost: text('the name of a host'),
  chroot: text('a path', () => true, { initial: './' }),
  accessLog: FILE('/logs/access.log'),
  errorLog: FILE('/logs/error.log'),
  pidFile: FILE('/run/mongrel2.pid'),
  controlPort: spec(),
} satisfies is.Described<ServerConfig>)
const checkHost = is.checkerOf('option of a host', 'a host', {
  name: text('a name', undefined, REQUIRED),
  matching: text('a pattern'),
  routes: is.option<HostConfig['routes']>(
    'at least one route',
    (routes) => isObject(routes) && Object.keys(routes).length > 0,
    REQUIRED,
  ),
} satisfies is.Described<HostConfig>)
const ROUTE = text('the beginning of a path', undefined, REQUIRED)

const checkHandler = is.checkerOf('option of a Handler', 'a Handler', {
  sendSpec: spec(REQUIRED),
  recvSpec: spec(REQUIRED),
  sendIdent: text("a text without spaces, '_' and '.'", (ident) => /^[^\s_.]+$/.test(ident), REQUIRED),
  recvIdent: text('a text', () => true, { initial: '' }),
  protocol: is.oneOf(['json', 'tnetstring'], 'json'),
  rawPayload: is.boolean(false),
} satisfies is.Described<HandlerConfig>)
const checkProxy = is.checkerOf('option of a Proxy', 'a Proxy', {
  addr: text('an address', undefined, REQUIRED),
  port: PORT,
} satisfies is.Described<ProxyConfig>)
const checkDir = is.checkerOf('option of a Dir', 'a Dir', {
  base: text("a path that ends in '/'", (path) => path.endsWith('/'), REQUIRED),
  indexFile: text('a name', undefined, { initial: 'index.html' }),
  defaultCtype: text('a media type', undefined, { initial: 'application/octet-stream' }),
  cacheTtl: is.count(0, [0, 2_147_483_647]),
} satisfies is.Described<DirConfig>)

/**
 * Makes a configuration that `m2sh load` takes, as text.
 *
 * @throws {Mongrel2Error} `invalid_option`, which names the part, for what Mongrel2 or the grammar of m2sh cannot take.
 * @example
 * ```ts
 * import { writeFileSync } from 'node:fs'
 * import { renderMongrel2Config } from 'mongrel2-fetch/mongrel2'
 *
 * const app = { sendSpec: 'tcp://127.0.0.1:9999', recvSpec: 'tcp://127.0.0.1:9998', sendIdent: 'app' }
 * const text = renderMongrel2Config({
 *   servers: [{ uuid: 'main', port: 6767, hosts: [{ name: 'localhost', routes: { '/': app, '/static/': { base: 'static/' } } }] }],
 *   settings: { 'upload.temp_store': 'tmp/mongrel2.upload.XXXXXX', 'limits.buffer_size': 16_384 },
 * })
 * writeFileSync('mongrel2.conf', text)
 * ```
 */
export function renderMongrel2Config(config: Mongrel2Config): string {
  const { servers, settings } = checkConfig(config, 'config')
  const targets = new Targets()
  const texts = servers.map((server, at) => renderServer(server, `servers[${at}]`, settings, targets))
  const uuids = servers.map(({ uuid }) => uuid)
  const twice = uuids.find((uuid, at) => uuids.indexOf(uuid) !== at)
  if (twice !== undefined) throw invalid('config.servers', 'a uuid of its own for each server', twice)
  const entries = Object.entries(settings).filter(([, value]) => value !== undefined)
  return [
    ...targets.lines,
    ...texts.map((server, at) => `server${at} = ${server}`),
    `servers = [${texts.map((_, at) => `server${at}`).join(', ')}]`,
    ...(entries.length === 0 ? [] : [`settings = ${hash(entries.map(([key, value]) => [key, literal(value)]))}`]),
    '',
  ].join('\n')
}

function renderServer(server: unknown, name: string, settings: is.Checked<typeof SETTINGS>, targets: Targets): string {
  const { hosts, tls, defaultHost, controlPort, ...own } = checkServer(server, name)
  if (tls && settings.certdir === undefined) throw invalid(name, 'the setting certdir beside tls', undefined)
  const checked = hosts.map((host, at) => checkHost(host, `${name}.hosts[${at}]`))
  const names = checked.map((host) => host.name)
  if (defaultHost !== undefined && !names.includes(defaultHost))
    throw invalid(`${name}.defaultHost`, `one of ${names.join(', ')}`, defaultHost)
  targets.beginServer()
  const texts = checked.map((host, at) => renderHost(host, `${name}.hosts[${at}]`, targets))
  const parameters = { ...own, useSsl: tls, defaultHost: defaultHost ?? names[0], controlPort }
  return instance('Server', parameters, `hosts=[${texts.join(', ')}]`)
}

function renderHost({ name, matching, routes }: ReturnType<typeof checkHost>, at: string, targets: Targets): string {
  const entries = Object.entries(routes).map(([path, target]): [string, string] => {
    const where = `${at}.routes[${JSON.stringify(path)}]`
    return [ROUTE.check(where, path), targets.add(target, where)]
  })
  return instance('Host', { name, matching }, `routes=${hash(entries)}`)
}

/** The Handlers, Proxies and Dirs, each once. */
class Targets {
  readonly #names = new Map<string, string>()
  /** The Handlers of a server by their addresses. Another server may have the same ones, in another chroot. */
  readonly #specs = new Map<string, string>()
  #raw: string | undefined

  /** The lines that define them. */
  get lines(): string[] {
    return [...this.#names].map(([text, name]) => `${name} = ${text}`)
  }

  beginServer(): void {
    this.#specs.clear()
  }

  /** Returns its name. */
  add(target: unknown, where: string): string {
    const text = this.#render(target, where)
    const name = this.#names.get(text) ?? `target${this.#names.size}`
    this.#names.set(text, name)
    return name
  }

  #render(target: unknown, where: string): string {
    if (isObject(target) && 'addr' in target) return instance('Proxy', checkProxy(target, where))
    if (isObject(target) && 'base' in target) return instance('Dir', checkDir(target, where))
    if (!isObject(target) || !('sendSpec' in target || 'recvSpec' in target))
      throw invalid(where, 'a Handler with sendSpec, a Proxy with addr or a Dir with base', target)
    const handler = checkHandler(target, where)
    const text = instance('Handler', handler)
    if (handler.rawPayload && (this.#raw ?? text) !== text)
      throw invalid(`${where}.rawPayload`, 'one Handler with it, since m2sh crashes at a second', true)
    if (handler.rawPayload) this.#raw = text
    if (!handler.sendIdent.startsWith(handler.recvIdent))
      throw invalid(
        `${where}.recvIdent`,
        `the beginning of ${handler.sendIdent}, since no other reply arrives`,
        handler.recvIdent,
      )
    for (const spec of [handler.sendSpec, handler.recvSpec]) {
      const other = this.#specs.get(spec) ?? text
      if (other !== text)
        throw new Mongrel2Error(
          'invalid_option',
          `${where}: expected each Handler to have addresses of its own, got ${spec} twice`,
        )
      this.#specs.set(spec, text)
    }
    return text
  }
}

/** An instance of a class. Its parameters have the names of options in snake case; `nested` is one that is no scalar. */
function instance(name: string, parameters: object, nested?: string): string {
  const assignments = Object.entries(parameters)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}=${literal(value)}`)
  return `${name}(${[...assignments, ...(nested === undefined ? [] : [`\n  ${nested}`])].join(', ')})`
}

/** The text of a checked value. */
function literal(value: unknown): string {
  return typeof value === 'string' ? (quoted(value) ?? '') : String(Number(value))
}

/** The text of a hash, whose values are written already. */
function hash(entries: readonly (readonly [string, string])[]): string {
  return `{${entries.map(([key, value]) => `${quoted(key)}: ${value}`).join(', ')}}`
}

/** A list, whose items are checked one by one. */
function listOf<T>(expected: string): is.Option<readonly T[]> {
  return is.option(expected, (value) => Array.isArray(value) && value.length > 0, REQUIRED)
}
