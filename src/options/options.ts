import { resolve } from 'node:path'
import { v4, validate } from 'uuid'
import { isAuthority, type TrustProxy } from '../exchange/request/origin.ts'
import type { UploadPlace } from '../exchange/upload/upload.ts'
import { checkMessages, type MessageHandlers } from '../message-socket/types.ts'
import type { FetchHandler } from '../platform/handler.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import type { Logger } from '../runtime/log.ts'
import { HANDLER_TARGETS } from '../wire/limits.ts'
import {
  boolean,
  integer,
  invalid,
  isObject,
  known,
  loggerOf,
  MAX_BYTES,
  MAX_DELAY,
  MAX_MESSAGE_SIZE,
  optionalFunction,
  optionalSignal,
  specOf,
} from './option-check.ts'

/** A fetch handler, or an object with one, as `export default app` gives. */
export type Mongrel2Handler = FetchHandler | { fetch: FetchHandler }

/** Where Mongrel2 stores large bodies, and what becomes of them. */
export interface UploadOptions {
  /** The value of Mongrel2's setting `upload.temp_store`. Default: `tmp/mongrel2.upload.XXXXXX`. */
  tempStore?: string
  /** Whether files stay when the response is finished. Default: false, they are deleted. */
  keep?: boolean
}

/** What sockets to Mongrel2 are made of. */
export type LinkOption = 'auto' | 'zmtp' | 'zeromq'

/** One Handler of a Mongrel2, by the names of its configuration, with what may differ from the other endpoints. */
export interface EndpointOptions {
  /** The Handler's `send_spec`: `tcp://HOST:PORT` or `ipc://PATH`. */
  sendSpec: string
  /** The Handler's `recv_spec`. */
  recvSpec: string
  /** As `chroot` of all endpoints. */
  chroot?: string
  /** As `uploads` of all endpoints. */
  uploads?: UploadOptions
  /** As `flowControl` of all endpoints. */
  flowControl?: boolean
  /** As `link` of all endpoints. */
  link?: LinkOption
  /** As `maxMessageSize` of all endpoints. */
  maxMessageSize?: number
  /**
   * Mongrel2's control port as seen from here, which tells what clients have read: `ipc://PATH` or `tcp://HOST:PORT`; or, as `controlPort`
   * of all endpoints, whether to look for it.
   */
  controlPort?: string | boolean
}

/** An endpoint as options or as the string `SEND_SPEC,RECV_SPEC` or `SEND_SPEC,RECV_SPEC,CONTROL_PORT`. */
export type EndpointInput = string | EndpointOptions

/** Options of `serveMongrel2`. Times are in milliseconds, sizes in bytes. */
export interface Mongrel2Options {
  /** One or several Handlers to serve: `'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998'`, or an object, or a list of them. */
  zeromq: EndpointInput | readonly EndpointInput[]
  /**
   * What the sockets are made of: `zmtp`, Node's own with ZeroMQ's protocol on them, which cost less; or `zeromq`, libzmq.
   * Default: `auto`, which is `zmtp` but for the abstract names of Linux (`ipc://@NAME`).
   */
  link?: LinkOption
  /** The sockets' identity, a UUID. Default: a new one each start. */
  identity?: string
  /** Mongrel2's chroot as seen from this process. Default: the working directory. */
  chroot?: string
  /** Where Mongrel2 stores large bodies. */
  uploads?: UploadOptions
  /**
   * Whether Mongrel2 runs with `download.flow_control`. It says so in each connection's first request; set this where that
   * request may have gone to another process. Default: false, found out.
   */
  flowControl?: boolean
  /**
   * Whether to look for Mongrel2's control port, `run/control` in its chroot, at endpoints that name none. It is used once it has proven to be
   * that of the Mongrel2 that is served. Default: true.
   */
  controlPort?: boolean
  /**
   * Whether other processes pull from the same Handlers, so that the beginning and the end of a stored body may go to different ones. Then
   * `onUploadStart` is asked when the body is there. Default: false.
   */
  shared?: boolean
  /** Handlers that run at once; open streams do not count. Default: 1024. */
  maxInFlight?: number
  /** Requests that wait for a place when so many run; those beyond get a 503. Default: 1024. */
  maxQueued?: number
  /** Requests of one connection that are worked on at once; more wait. Default: 16. */
  maxPipelined?: number
  /** Bytes that may be held of one streaming response until its client takes them. Default: 8 MiB. */
  maxBufferedBytes?: number
  /** Bytes a second that a client has to read at least where neither flow control nor a control port tells what it has read. Default: 16 KiB. */
  minClientRate?: number
  /**
   * Bytes that may wait in Mongrel2 for all clients together, where neither flow control nor a control port tells what they have read.
   * Default: 256 MiB.
   */
  maxWaitingBytes?: number
  /** Milliseconds between two signs of life to Mongrel2 for connections with an open request, which it would end as idle. Default: 45,000. */
  keepAliveInterval?: number
  /**
   * Connections that one reply may name: Mongrel2's `limits.handler_targets`. It drops a reply that names more. Default: 128, its own
   * default.
   */
  handlerTargets?: number
  /** Bytes of a streamed upload (`upload.stream`) that may be on their way to the handler. Default: 256 KiB. */
  uploadWindow?: number
  /** The authority of HTTP/1.0 requests that name no host. Default: `localhost`. */
  host?: string
  /**
   * Whether X-Forwarded-For, -Proto and -Host are believed: false, the number of proxies in front of Mongrel2, or true for
   * whatever they say. Mongrel2 itself overwrites X-Forwarded-For unless its setting `no_clobber_xff` is on. Default: false.
   */
  trustProxy?: TrustProxy
  /**
   * Milliseconds that a client may take between two parts of a streamed body that its handler waits for, as nginx's `client_body_timeout`; then
   * it gets a 408, and `request.signal` is aborted. 0 is no limit. Default: 60,000.
   */
  bodyTimeout?: number
  /** Milliseconds that a handler may take to return its Response; then the client gets a 504. Default: 0, no limit. */
  requestTimeout?: number
  /** Bytes that a request's body may have; more is a 413. Default: no limit but Mongrel2's. */
  maxBodySize?: number
  /**
   * Bytes that the body of one message from Mongrel2 may have: a WebSocket frame, or a request's body that Mongrel2 sends whole, by its
   * `limits.content_length`. A longer one is not kept: its connection is closed, a WebSocket with 1009, a request with a 413. Default: 16 MiB.
   */
  maxMessageSize?: number
  /** Makes the response when the handler throws or rejects; undefined, or a failure of its own, gives a bare 500. */
  onError?: (error: unknown, request: Request) => Response | undefined | Promise<Response | undefined>
  /**
   * Looks at a request whose body Mongrel2 has begun to store. A Response is sent at once and the connection closed; undefined
   * lets it go on. The request has no body yet.
   */
  onUploadStart?: (request: Request) => Response | undefined | Promise<Response | undefined>
  /** What takes JSON and XML messages, which reach Mongrel2 on routes such as `@chat` and `<chat`. Without it, who sends one is closed. */
  messages?: MessageHandlers
  /** Where lines go. Default: the console, for warnings and errors. */
  logger?: Logger
  /**
   * Whether the global Request, Response and fetch are replaced while a server runs, by ones that make quick objects of the same
   * behaviour; they are put back when the last one is closed. A string or bytes as a response's body then cost next to nothing.
   * Where the process is not all yours, leave it. Default: false.
   */
  overrideGlobalObjects?: boolean
  /** Aborted, it closes the server as `close()` does. */
  signal?: AbortSignal
}

/** Options of `createReplier`. */
export interface ReplierOptions {
  /** The Handlers to publish to, as for `serveMongrel2`; nothing is pulled from them. */
  zeromq: EndpointInput | readonly EndpointInput[]
  /** As for `serveMongrel2`. */
  link?: LinkOption
  /** The sockets' identity, a UUID. Default: a new one each time. */
  identity?: string
  /** Bytes of one response, or of messages on their way to one socket. Default: 8 MiB. */
  maxBufferedBytes?: number
  /** Bytes a second that the client of a socket reads at least. Default: 16 KiB. */
  minClientRate?: number
  /** Where lines go. Default: the console, for warnings and errors. */
  logger?: Logger
}

/** One Mongrel2 Handler, by its own names: what it sends on, we pull from; what it receives on, we publish to. */
export interface Endpoint {
  /** The Handler's `send_spec`, such as `tcp://127.0.0.1:9999` or `ipc:///srv/m2/run/send`. */
  readonly sendSpec: string
  /** The Handler's `recv_spec`. */
  readonly recvSpec: string
}

/** A link's part of the options, checked. */
export interface EndpointSettings extends Endpoint {
  /** Bytes that the body of a message may have; a longer message is cut. */
  readonly maxMessageSize: number
  readonly link: 'zmtp' | 'zeromq'
  /** The one that was named. */
  readonly controlPort: string | undefined
  /** Whether to look for one otherwise. */
  readonly findControlPort: boolean
  readonly uploads: UploadPlace
  readonly flowControl: boolean
}

/** The options, checked and with their defaults. */
export interface Settings {
  readonly fetch: FetchHandler
  readonly endpoints: readonly EndpointSettings[]
  readonly identity: string
  readonly shared: boolean
  readonly maxInFlight: number
  readonly maxQueued: number
  readonly maxPipelined: number
  readonly maxBufferedBytes: number
  readonly minClientRate: number
  readonly maxWaitingBytes: number
  readonly keepAliveInterval: number
  readonly handlerTargets: number
  readonly uploadWindow: number
  readonly host: string
  readonly trustProxy: TrustProxy
  readonly requestTimeout: number
  readonly bodyTimeout: number
  readonly maxBodySize: number
  readonly onError: Mongrel2Options['onError'] | undefined
  readonly onUploadStart: Mongrel2Options['onUploadStart'] | undefined
  readonly messages: MessageHandlers | undefined
  readonly overrideGlobalObjects: boolean
  readonly logger: Logger
  readonly signal: AbortSignal | undefined
}

/** The options of a replier, checked and with their defaults. */
export type ReplierSettings = Pick<Settings, 'endpoints' | 'identity' | 'maxBufferedBytes' | 'minClientRate' | 'logger'>

const DEFAULT_TEMP_STORE = 'tmp/mongrel2.upload.XXXXXX'
const MAX_WAITING_BYTES = 256 * 1024 * 1024
/** More than it has sockets for. */
const MOST_HANDLER_TARGETS = 65_535

/**
 * Checks what a user gave to `serveMongrel2`.
 *
 * @throws Mongrel2Error `invalid_option`, naming the option, what was expected and what came.
 */
export function checkOptions(handler: Mongrel2Handler, options: Mongrel2Options): Settings {
  if (!isObject(options)) throw invalid('options', 'an object with at least zeromq', options)
  known('option', options, OPTIONS)
  return {
    fetch: fetchOf(handler),
    endpoints: endpointsOf(options),
    identity: identityOf(options.identity),
    shared: boolean('shared', options.shared, false),
    maxInFlight: integer('maxInFlight', options.maxInFlight, 1, Number.MAX_SAFE_INTEGER, 1024),
    maxQueued: integer('maxQueued', options.maxQueued, 0, Number.MAX_SAFE_INTEGER, 1024),
    maxPipelined: integer('maxPipelined', options.maxPipelined, 1, Number.MAX_SAFE_INTEGER, 16),
    maxBufferedBytes: integer('maxBufferedBytes', options.maxBufferedBytes, 64 * 1024, MAX_BYTES, 8 * 1024 * 1024),
    minClientRate: integer('minClientRate', options.minClientRate, 1, Number.MAX_SAFE_INTEGER, 16 * 1024),
    maxWaitingBytes: integer('maxWaitingBytes', options.maxWaitingBytes, 1, Number.MAX_SAFE_INTEGER, MAX_WAITING_BYTES),
    keepAliveInterval: integer('keepAliveInterval', options.keepAliveInterval, 1, MAX_DELAY, 45_000),
    handlerTargets: integer('handlerTargets', options.handlerTargets, 1, MOST_HANDLER_TARGETS, HANDLER_TARGETS),
    uploadWindow: integer('uploadWindow', options.uploadWindow, 1024, MAX_BYTES, 256 * 1024),
    host: hostOf(options.host),
    trustProxy: trustProxyOf(options.trustProxy),
    bodyTimeout: integer('bodyTimeout', options.bodyTimeout, 0, MAX_DELAY, 60_000),
    requestTimeout: integer('requestTimeout', options.requestTimeout, 0, MAX_DELAY, 0),
    maxBodySize: integer('maxBodySize', options.maxBodySize, 0, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    onError: optionalFunction('onError', options.onError),
    onUploadStart: optionalFunction('onUploadStart', options.onUploadStart),
    messages: checkMessages(options.messages),
    overrideGlobalObjects: boolean('overrideGlobalObjects', options.overrideGlobalObjects, false),
    logger: loggerOf(options.logger),
    signal: optionalSignal('signal', options.signal),
  }
}

/** The options of one of several that serve the same Mongrel2: what may wait there for all clients together is divided. */
export function optionsForOneOf(count: number, options: Mongrel2Options): Mongrel2Options {
  const { maxWaitingBytes = MAX_WAITING_BYTES } = options
  return { ...options, maxWaitingBytes: Math.max(1, Math.floor(maxWaitingBytes / count)) }
}

/**
 * Checks what a user gave to `createReplier`.
 *
 * @throws Mongrel2Error `invalid_option`, naming the option, what was expected and what came.
 */
export function checkReplierOptions(options: ReplierOptions): ReplierSettings {
  if (!isObject(options)) throw invalid('options', 'an object with at least zeromq', options)
  known('option of createReplier', options, REPLIER_OPTIONS)
  return checkOptions(() => new Response(), options)
}

const OPTIONS: readonly (keyof Mongrel2Options)[] = [
  'zeromq',
  'link',
  'identity',
  'chroot',
  'uploads',
  'flowControl',
  'controlPort',
  'shared',
  'maxInFlight',
  'maxQueued',
  'maxPipelined',
  'maxBufferedBytes',
  'minClientRate',
  'maxWaitingBytes',
  'keepAliveInterval',
  'handlerTargets',
  'uploadWindow',
  'host',
  'trustProxy',
  'bodyTimeout',
  'requestTimeout',
  'maxBodySize',
  'maxMessageSize',
  'onError',
  'onUploadStart',
  'messages',
  'overrideGlobalObjects',
  'logger',
  'signal',
]
const REPLIER_OPTIONS: readonly (keyof ReplierOptions)[] = [
  'zeromq',
  'link',
  'identity',
  'maxBufferedBytes',
  'minClientRate',
  'logger',
]
const ENDPOINT_OPTIONS: readonly (keyof EndpointOptions)[] = [
  'sendSpec',
  'recvSpec',
  'chroot',
  'uploads',
  'flowControl',
  'link',
  'controlPort',
  'maxMessageSize',
]
const UPLOAD_OPTIONS: readonly (keyof UploadOptions)[] = ['tempStore', 'keep']

function fetchOf(handler: unknown): FetchHandler {
  if (typeof handler === 'function') return handler as FetchHandler
  if (isObject(handler) && typeof handler.fetch === 'function') {
    const app = handler as { fetch: FetchHandler }
    return (request, env, ctx) => app.fetch(request, env, ctx)
  }
  throw invalid('the handler', 'a function (request, env, ctx) => Response, or an object with such a fetch', handler)
}

function endpointsOf(options: Mongrel2Options): EndpointSettings[] {
  const inputs: readonly unknown[] = Array.isArray(options.zeromq) ? options.zeromq : [options.zeromq]
  if (inputs.length === 0) throw invalid('zeromq', 'at least one endpoint', options.zeromq)
  const endpoints = inputs.map((input) => endpointOf(input, options))
  const pulled = endpoints.map((endpoint) => endpoint.sendSpec)
  const twice = pulled.find((spec, at) => pulled.indexOf(spec) !== at)
  if (twice !== undefined)
    throw new Mongrel2Error('invalid_option', `zeromq: expected each Handler once, got ${twice} twice`)
  return endpoints
}

function endpointOf(input: unknown, options: Mongrel2Options): EndpointSettings {
  const form = "'SEND_SPEC,RECV_SPEC[,CONTROL_PORT]' or { sendSpec, recvSpec }"
  if (typeof input === 'string') {
    const [sendSpec, recvSpec, controlPort, ...more] = input.split(',').map((spec) => spec.trim())
    if (recvSpec === undefined || more.length > 0) throw invalid('zeromq', form, input)
    return endpointOf({ sendSpec, recvSpec, ...(controlPort === undefined ? {} : { controlPort }) }, options)
  }
  if (!isObject(input)) throw invalid('zeromq', form, input)
  known('option of an endpoint', input, ENDPOINT_OPTIONS)
  const sendSpec = specOf('sendSpec', input.sendSpec)
  const recvSpec = specOf('recvSpec', input.recvSpec)
  const { controlPort } = input
  const named = controlPort === undefined || typeof controlPort === 'boolean' ? undefined : controlPort
  return {
    sendSpec,
    recvSpec,
    link: linkOf(input.link ?? options.link, [sendSpec, recvSpec]),
    controlPort: named === undefined ? undefined : specOf('controlPort', named),
    findControlPort: boolean('controlPort', typeof controlPort === 'boolean' ? controlPort : options.controlPort, true),
    uploads: uploadsOf(input.chroot ?? options.chroot, {
      ...checkUploads(options.uploads),
      ...checkUploads(input.uploads),
    }),
    flowControl: boolean('flowControl', input.flowControl ?? options.flowControl, false),
    maxMessageSize: integer(
      'maxMessageSize',
      input.maxMessageSize ?? options.maxMessageSize,
      1,
      MAX_MESSAGE_SIZE,
      16 * 1024 * 1024,
    ),
  }
}

/** Abstract names are left to libzmq: Node 20 pads them with zeros, and then they are others. */
const ABSTRACT = 'ipc://@'

function linkOf(link: unknown, specs: readonly string[]): 'zmtp' | 'zeromq' {
  const abstract = specs.find((spec) => spec.startsWith(ABSTRACT))
  switch (link) {
    case undefined:
    case 'auto':
      return abstract === undefined ? 'zmtp' : 'zeromq'
    case 'zmtp':
      if (abstract !== undefined) throw invalid('link', `'auto' or 'zeromq' for ${abstract}`, link)
      return link
    case 'zeromq':
      return link
    default:
      throw invalid('link', "'auto', 'zmtp' or 'zeromq'", link)
  }
}

function checkUploads(uploads: unknown): UploadOptions {
  if (uploads === undefined) return {}
  if (!isObject(uploads)) throw invalid('uploads', '{ tempStore, keep }', uploads)
  known('option of uploads', uploads, UPLOAD_OPTIONS)
  return uploads
}

function uploadsOf(chroot: unknown, uploads: UploadOptions): UploadPlace {
  if (chroot !== undefined && (typeof chroot !== 'string' || chroot === '')) throw invalid('chroot', 'a path', chroot)
  const tempStore: unknown = uploads.tempStore ?? DEFAULT_TEMP_STORE
  if (typeof tempStore !== 'string' || !tempStore.endsWith('XXXXXX') || tempStore.split('/').includes('..')) {
    throw invalid(
      'uploads.tempStore',
      "Mongrel2's upload.temp_store, a path that ends in XXXXXX and has no '..'",
      tempStore,
    )
  }
  return {
    chroot: resolve(chroot ?? process.cwd()),
    tempStore,
    keep: boolean('uploads.keep', uploads.keep, false),
  }
}

function identityOf(identity: unknown): string {
  if (identity === undefined) return v4()
  if (typeof identity !== 'string' || !validate(identity)) throw invalid('identity', 'a UUID', identity)
  return identity
}

function hostOf(host: unknown): string {
  if (host === undefined) return 'localhost'
  if (typeof host !== 'string' || !isAuthority(host))
    throw invalid('host', 'a host, with a port perhaps, such as example.org:8080', host)
  return host
}

function trustProxyOf(trustProxy: unknown): TrustProxy {
  if (trustProxy === undefined) return false
  if (typeof trustProxy === 'boolean') return trustProxy
  if (typeof trustProxy === 'number' && Number.isInteger(trustProxy) && trustProxy >= 0) return trustProxy
  throw invalid('trustProxy', 'true, false or a number of proxies', trustProxy)
}
