import * as is from '../options/option.ts'
import { invalid, isObject, Mongrel2Error } from '../runtime/errors.ts'
import type { Logger } from '../runtime/log.ts'
import type { HeaderProtocol } from '../wire/message.ts'
import type { CertificateFiles } from './http/certificate.ts'
import { addresses, type ListenAt } from './listen.ts'

/** A route to a Handler, by the names of Mongrel2's configuration. */
export interface FrontRoute {
  /** The beginning of the paths, such as `/` or `/api/`. The longest match wins. */
  path: string
  /**
   * The address of messages: bound here, pulled from by handlers. `tcp://HOST:PORT` or `ipc://PATH`; or `inproc://NAME` for handlers in this
   * process, which costs less.
   */
  sendSpec: string
  /** The address of replies: bound here, published to by handlers. */
  recvSpec: string
  /** The format of headers. Default: `json`, as Mongrel2's. */
  protocol?: HeaderProtocol
  /** The SENDER of messages: letters, digits and hyphens. Default: a new UUID. */
  sendIdent?: string
  /** The beginning of a reply's SENDER. Default: empty, any SENDER. */
  recvIdent?: string
}

/** Settings of Mongrel2 that a front has, and bounds of its own. */
export interface FrontSettings {
  /**
   * Bodies over `contentLength` and chunked bodies: `stream` sends them to the handler as they arrive (`upload.stream`), `none` refuses
   * them with 413. Default: `stream`. Bodies are never stored in files.
   */
  uploads?: 'stream' | 'none'
  /** Reports to handlers how many bytes a client has taken (`download.flow_control`). Default: false. */
  flowControl?: boolean
  /** Keeps the client's X-Forwarded-For (`no_clobber_xff`). Default: false, it becomes the client's address. */
  noClobberXff?: boolean
  /** Bytes that a request's head may have (`limits.buffer_size`). Default: 16 KiB; Mongrel2's own is 4 KiB. */
  bufferSize?: number
  /** Bytes of a body that is sent within its request's message (`limits.content_length`). Default: 20 KiB. */
  contentLength?: number
  /** Bytes that a WebSocket message may have; a larger one closes the WebSocket with 1009. Default: 16 MiB. */
  maxMessageSize?: number
  /** Milliseconds for a request's head to arrive. Default: 60,000. */
  headersTimeout?: number
  /** Milliseconds between two pieces of a body that the handler waits for, and for all of a body up to `contentLength`. Default: 60,000. */
  bodyTimeout?: number
  /** Milliseconds until a client that does not read its answer is closed. Default: 120,000. */
  sendTimeout?: number
  /** Milliseconds until a connection without a request is closed. Default: 75,000. */
  keepAliveTimeout?: number
  /** Connections of clients; further ones are closed at once. Default: 10,000. */
  maxConnections?: number
  /** Logs lines. Default: the console, for warnings and errors. */
  logger?: Logger
}

/** The files of the certificate with which HTTP speaks TLS, both or none. */
export interface TlsOptions {
  /** The path of the certificate, followed by those of its issuers, as PEM. Default: none, plain HTTP. */
  tlsCert?: string
  /** The path of its private key, without a password, as PEM. */
  tlsKey?: string
}

/** An address: `HOST:PORT`, `:PORT` for every address of the machine, or the path of a socket in the file system, with a slash in it. */
type Address = string

/** Options of `createGateway`. Each protocol can have several addresses; there is at least one. Sizes are in bytes. */
export interface GatewayOptions extends FrontSettings, TlsOptions {
  /** Where HTTP clients connect. */
  http?: Address | readonly Address[]
  /** Where front servers connect that speak uwsgi, such as nginx with `uwsgi_pass`. */
  uwsgi?: Address | readonly Address[]
  /** Where front servers connect that speak FastCGI. */
  fastcgi?: Address | readonly Address[]
  /** Where front servers connect that speak SCGI. */
  scgi?: Address | readonly Address[]
  /** At least one. Routes with the same addresses share a Handler. */
  routes: readonly FrontRoute[]
}

/** Options of `createFront`. Sizes are in bytes. */
export interface FrontOptions extends FrontSettings, TlsOptions {
  /** The port for browsers; 0 for any free port. */
  port: number
  /** The address to listen at. Default: `127.0.0.1`. */
  host?: string
  /** At least one. Routes with the same addresses share a Handler. */
  routes: readonly FrontRoute[]
}

const IDENT = /^[A-Za-z0-9-]+$/

export const ROUTE = {
  path: is.text('a path that begins with /', (path) => path.startsWith('/'), { required: true }),
  sendSpec: is.SEND_SPEC,
  recvSpec: is.SPEC,
  protocol: is.oneOf<HeaderProtocol>(['json', 'tnetstring'], 'json'),
  sendIdent: is.text(`a text like ${IDENT}`, (text) => IDENT.test(text), {
    initial: () => crypto.randomUUID(),
  }),
  recvIdent: is.text(`a text like ${IDENT}`, (text) => text === '' || IDENT.test(text), { initial: '' }),
} satisfies is.Described<FrontRoute>
const checkRoute = is.checkerOf('option of a route', '{ path, sendSpec, recvSpec }', ROUTE)

export const FRONT_SETTINGS = {
  uploads: is.oneOf(['stream', 'none'], 'stream'),
  flowControl: is.boolean(false),
  noClobberXff: is.boolean(false),
  bufferSize: is.bytes(16 * is.KIB, [is.KIB, is.MAX_BYTES]),
  contentLength: is.bytes(20 * is.KIB, [0, is.MAX_BYTES]),
  maxMessageSize: is.bytes(16 * is.MIB, [0, is.MAX_BYTES]),
  headersTimeout: is.milliseconds(60_000, 1),
  bodyTimeout: is.milliseconds(60_000, 1),
  sendTimeout: is.milliseconds(120_000, 1),
  keepAliveTimeout: is.milliseconds(75_000, 1),
  maxConnections: is.count(10_000, [1, is.MAX_DELAY]),
  logger: is.LOGGER,
} satisfies is.Described<FrontSettings>

export const TLS_OPTIONS = {
  tlsCert: is.text('the path of a file', undefined, {
    placeholder: 'FILE',
    help: 'The certificate of --http, or of --tls of dev, followed by those of its issuers, as PEM.',
  }),
  tlsKey: is.text('the path of a file', undefined, {
    placeholder: 'FILE',
    help: 'The private key of --tls-cert, as PEM.',
  }),
} satisfies is.Described<TlsOptions>

/** The addresses by protocol. */
export const PLACES = {
  http: placesOf('Also answer ordinary HTTP, at an address or at a socket in the file system.'),
  uwsgi: placesOf('Also answer a front server by the uwsgi protocol, such as nginx with uwsgi_pass.'),
  fastcgi: placesOf('Also answer a front server by FastCGI, such as nginx with fastcgi_pass.'),
  scgi: placesOf('Also answer a front server by SCGI, such as nginx with scgi_pass.'),
} satisfies is.Options

export const PROTOCOLS = Object.keys(PLACES) as readonly (keyof typeof PLACES)[]
/** The addresses of each protocol. */
export type Places = is.Checked<typeof PLACES>

export const GATEWAY_OPTIONS = {
  ...PLACES,
  ...TLS_OPTIONS,
  routes: is.checkedBy(checkRoutes),
  ...FRONT_SETTINGS,
} satisfies is.Described<Record<keyof GatewayOptions, unknown>>

export const FRONT_OPTIONS = {
  port: is.PORT,
  host: is.text('a host name or an address', undefined, { initial: '127.0.0.1' }),
  ...TLS_OPTIONS,
  routes: is.checkedBy(checkRoutes),
  ...FRONT_SETTINGS,
} satisfies is.Described<FrontOptions>

/** The checked settings of a gateway. Times are in milliseconds, sizes in bytes. */
export type GatewaySettings = is.Checked<typeof FRONT_SETTINGS>
/** One Handler, by Mongrel2's names. */
export type HandlerSettings = Omit<is.Checked<typeof ROUTE>, 'path'>
/** Settings of a gateway for any protocol of its clients. */
export interface RouterSettings extends GatewaySettings {
  readonly routes: readonly is.Checked<typeof ROUTE>[]
}

/** Checks the settings that do not depend on where clients come from. */
export const checkSettings: (settings: FrontSettings) => GatewaySettings = is.checkerOf(
  'option',
  'an object',
  FRONT_SETTINGS,
)

/** Checks the options of `createFront`; throws Mongrel2Error `invalid_option`. */
export const checkFrontOptions: (options: FrontOptions) => is.Checked<typeof FRONT_OPTIONS> = is.checkerOf(
  'option',
  'an object with at least port and routes',
  FRONT_OPTIONS,
)

/** Checks the options of `createGateway`; throws Mongrel2Error `invalid_option`. */
export function checkGatewayOptions(options: GatewayOptions): is.Checked<typeof GATEWAY_OPTIONS> {
  const settings = checkGateway(options)
  if (PROTOCOLS.every((protocol) => settings[protocol].length === 0)) {
    throw invalid('options', `an address in ${PROTOCOLS.join(', ')}`, options)
  }
  if (settings.tlsCert !== undefined && settings.http.length === 0)
    throw invalid('http', 'an address for tlsCert', options.http)
  return settings
}

/** The files of the certificate; undefined for plain HTTP. Throws Mongrel2Error `invalid_option` for one without the other. */
export function certificateFiles(cert: string | undefined, key: string | undefined): CertificateFiles | undefined {
  if (cert !== undefined && key !== undefined) return { cert, key }
  if (cert !== key) throw new Mongrel2Error('invalid_option', 'tlsCert and tlsKey: expected both or none')
  return undefined
}

function placesOf(help: string): is.Option<readonly ListenAt[]> {
  const more =
    'The flag can be given again; in the variable they are separated by spaces, which a path cannot have there.'
  return addresses({ repeated: true, read: is.wordsIn, placeholder: 'HOST:PORT|PATH', help: `${help} ${more}` })
}

const checkGateway = is.checkerOf('option', 'an object with at least an address and routes', GATEWAY_OPTIONS)

function checkRoutes(name: string, routes: unknown): is.Checked<typeof ROUTE>[] {
  const expected = 'a list of { path, sendSpec, recvSpec }'
  if (!Array.isArray(routes) || routes.length === 0) throw invalid(name, expected, routes)
  return routes.map((route: unknown) => {
    if (!isObject(route)) throw invalid(name, expected, route)
    return checkRoute(route)
  })
}
