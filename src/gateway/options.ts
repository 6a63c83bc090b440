import { v4 } from 'uuid'
import {
  boolean,
  integer,
  invalid,
  isObject,
  known,
  loggerOf,
  MAX_BYTES,
  MAX_DELAY,
  oneOf,
  specOf,
} from '../options/option-check.ts'
import type { Logger } from '../runtime/log.ts'
import type { HeaderProtocol } from '../wire/message.ts'
import type { HttpSettings } from './http.ts'
import type { RouterSettings, RouteSettings } from './router.ts'

/** A route to a Handler, by the names of Mongrel2's configuration. */
export interface FrontRoute {
  /** The beginning of the paths that go there, such as `/` or `/api/`; of several routes that fit, the longest. */
  path: string
  /** Where messages are sent: bound here, pulled from by handlers. `tcp://HOST:PORT` or `ipc://PATH`. */
  sendSpec: string
  /** Where replies are received: bound here, published to by handlers. */
  recvSpec: string
  /** How headers are written. Default: `json`, as Mongrel2's. */
  protocol?: HeaderProtocol
  /** The messages' SENDER: letters, digits and hyphens. Default: a new UUID. */
  sendIdent?: string
  /** How a reply's SENDER has to begin. Default: empty, anyhow. */
  recvIdent?: string
}

/** What of Mongrel2's settings a front has, and its own bounds. */
export interface FrontSettings {
  /**
   * What happens to bodies over `contentLength`, and to those in chunks: `stream`, sent to the handler as they come (`upload.stream`),
   * or `none`, refused with 413. Default: `stream`. Bodies are never stored in files.
   */
  uploads?: 'stream' | 'none'
  /** Tells handlers each byte that a client has taken (`download.flow_control`). Default: false. */
  flowControl?: boolean
  /** Leaves the client's X-Forwarded-For alone (`no_clobber_xff`). Default: false, it becomes the client's address. */
  noClobberXff?: boolean
  /** Bytes that a request's head may have (`limits.buffer_size`). Default: 16 KiB; Mongrel2's own is 4 KiB. */
  bufferSize?: number
  /** Bytes of a body that come within its request's message (`limits.content_length`). Default: 20 KiB. */
  contentLength?: number
  /** Bytes that a WebSocket's message may have; one that is larger ends it with 1009. Default: 16 MiB. */
  maxMessageSize?: number
  /** Milliseconds in which a request's head must have come. Default: 60,000. */
  headersTimeout?: number
  /**
   * Milliseconds that may pass between two pieces of a body that the handler waits for, and until the whole of one has come that fits
   * its message. Default: 60,000.
   */
  bodyTimeout?: number
  /** Milliseconds in which a client must take something of what waits for it. Default: 120,000. */
  sendTimeout?: number
  /** Milliseconds for which a connection is kept on which nothing is asked. Default: 75,000. */
  keepAliveTimeout?: number
  /** Connections of clients; those beyond are closed at once. Default: 10,000. */
  maxConnections?: number
  /** Where lines go. Default: the console, for warnings and errors. */
  logger?: Logger
}

/** Options of `createFront`. Sizes are in bytes. */
export interface FrontOptions extends FrontSettings {
  /** Where browsers connect; 0 for any that is free. */
  port: number
  /** The address to listen at. Default: `127.0.0.1`. */
  host?: string
  /** At least one. Those with the same addresses share a Handler. */
  routes: readonly FrontRoute[]
}

const SETTINGS: readonly (keyof FrontSettings)[] = [
  'uploads',
  'flowControl',
  'noClobberXff',
  'bufferSize',
  'contentLength',
  'maxMessageSize',
  'headersTimeout',
  'bodyTimeout',
  'sendTimeout',
  'keepAliveTimeout',
  'maxConnections',
  'logger',
]
const ROUTE_OPTIONS: readonly (keyof FrontRoute)[] = [
  'path',
  'sendSpec',
  'recvSpec',
  'protocol',
  'sendIdent',
  'recvIdent',
]

/**
 * Checks what a user gave to `createFront`.
 *
 * @throws Mongrel2Error `invalid_option`, naming the option, what was expected and what came.
 */
export function checkFrontOptions(
  options: FrontOptions,
): RouterSettings & HttpSettings & { port: number; host: string } {
  if (!isObject(options)) throw invalid('options', 'an object with at least port and routes', options)
  known('option', options, ['port', 'host', 'routes', ...SETTINGS])
  if (options.port === undefined) throw invalid('port', 'an integer from 0 to 65535', options.port)
  if (!Array.isArray(options.routes) || options.routes.length === 0) {
    throw invalid('routes', 'a list of { path, sendSpec, recvSpec }', options.routes)
  }
  return {
    port: integer('port', options.port, 0, 65_535, 0),
    host: text('host', options.host, '127.0.0.1', /./),
    routes: options.routes.map(checkRoute),
    ...checkSettings(options),
  }
}

/** Checks what does not depend on where clients come from. */
export function checkSettings(options: FrontSettings): Omit<RouterSettings, 'routes'> & HttpSettings {
  return {
    uploads: oneOf('uploads', options.uploads, ['stream', 'none'], 'stream'),
    flowControl: boolean('flowControl', options.flowControl, false),
    noClobberXff: boolean('noClobberXff', options.noClobberXff, false),
    bufferSize: integer('bufferSize', options.bufferSize, 1024, MAX_BYTES, 16 * 1024),
    contentLength: integer('contentLength', options.contentLength, 0, MAX_BYTES, 20 * 1024),
    maxMessageSize: integer('maxMessageSize', options.maxMessageSize, 0, MAX_BYTES, 16 * 1024 * 1024),
    headersTimeout: integer('headersTimeout', options.headersTimeout, 1, MAX_DELAY, 60_000),
    bodyTimeout: integer('bodyTimeout', options.bodyTimeout, 1, MAX_DELAY, 60_000),
    sendTimeout: integer('sendTimeout', options.sendTimeout, 1, MAX_DELAY, 120_000),
    keepAliveTimeout: integer('keepAliveTimeout', options.keepAliveTimeout, 1, MAX_DELAY, 75_000),
    maxConnections: integer('maxConnections', options.maxConnections, 1, MAX_DELAY, 10_000),
    logger: loggerOf(options.logger),
  }
}

function checkRoute(route: unknown): RouteSettings {
  if (!isObject(route)) throw invalid('routes', 'a list of { path, sendSpec, recvSpec }', route)
  known('option of a route', route, ROUTE_OPTIONS)
  if (route.path === undefined) throw invalid('path', 'a path that begins with /', route.path)
  return {
    path: text('path', route.path, '/', /^\//),
    sendSpec: specOf('sendSpec', route.sendSpec),
    recvSpec: specOf('recvSpec', route.recvSpec),
    protocol: oneOf('protocol', route.protocol, ['json', 'tnetstring'], 'json'),
    sendIdent: text('sendIdent', route.sendIdent, v4(), /^[A-Za-z0-9-]+$/),
    recvIdent: text('recvIdent', route.recvIdent, '', /^[A-Za-z0-9-]*$/),
  }
}

function text(name: string, value: unknown, otherwise: string, form: RegExp): string {
  if (value === undefined) return otherwise
  if (typeof value !== 'string' || !form.test(value)) throw invalid(name, `a text like ${form}`, value)
  return value
}
