import { MESSAGES, type MessageHandlers } from '../message-socket/types.ts'
import { LINE_FORMAT_FORM, lineFormat } from '../operations/line-format.ts'
import type { RequestEntry } from '../operations/request-entry.ts'
import {
  type EndpointInput,
  type EndpointOptions,
  type EndpointSettings,
  endpointSettings,
  type LinkOption,
  OF_ENDPOINTS,
  type UploadOptions,
  ZEROMQ,
} from '../options/endpoint.ts'
import * as is from '../options/option.ts'
import { type FetchHandler, fetchOf } from '../platform/handler.ts'
import { invalid } from '../runtime/errors.ts'
import type { Logger } from '../runtime/log.ts'
import { HANDLER_TARGETS } from '../wire/limits.ts'
import { isAuthority, type TrustProxy } from './request/target.ts'

/** A fetch handler, or an object with one, such as a Hono app. */
export type Mongrel2Handler = FetchHandler | { fetch: FetchHandler }

/** Options of `serveMongrel2`. Times are in milliseconds, sizes in bytes. */
export interface Mongrel2Options {
  /**
   * One or several Handlers to serve, each as `'SEND_SPEC,RECV_SPEC[,CONTROL_PORT]'` such as `'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998'`, or as
   * `{ sendSpec, recvSpec, controlPort }` with optional `link`, `chroot`, `uploads`, `flowControl` and `maxMessageSize` of its own.
   */
  zeromq: EndpointInput | readonly EndpointInput[]
  /**
   * The kind of sockets: `zmtp`, ZeroMQ's protocol on Node's sockets, which cost less; or `zeromq`, libzmq. Default: `auto`, which is `zmtp` except
   * for abstract names of Linux (`ipc://@NAME`).
   */
  link?: LinkOption
  /** The sockets' identity, a UUID. Default: a new one each start. */
  identity?: string
  /** Mongrel2's chroot as seen from this process. Default: the working directory. */
  chroot?: string
  /** Where Mongrel2 stores large bodies. */
  uploads?: UploadOptions
  /**
   * Whether Mongrel2 runs with `download.flow_control`. Set this where the first request of a connection, which tells, may have gone to another
   * process. Default: false, detected.
   */
  flowControl?: boolean
  /**
   * Whether to look for Mongrel2's control port, `run/control` in its chroot, at endpoints that name none. It is used once it is proven to belong
   * to the right Mongrel2. Default: true.
   */
  controlPort?: boolean
  /**
   * Whether other processes pull from the same Handlers, so that the start and the end of a stored body may go to different ones. `onUploadStart`
   * is then called when the body is complete. Default: false.
   */
  shared?: boolean
  /** Upper bound of the handlers that run at once; open streams do not count. Default: 1024. */
  maxInFlight?: number
  /** Upper bound of the requests that wait while so many run; further ones get a 503. Default: 1024. */
  maxQueued?: number
  /** Requests of one connection that are handled at once; further ones wait. Default: 16. */
  maxPipelined?: number
  /** Bytes of one streaming response that may wait for its client. Default: 8 MiB. */
  maxBufferedBytes?: number
  /** Bytes a second that a client must read where neither flow control nor a control port tells what it has read. Default: 16 KiB. */
  minClientRate?: number
  /** Bytes that may wait in Mongrel2 for all clients together where it does not tell what they have read. Default: 256 MiB. */
  maxWaitingBytes?: number
  /** Milliseconds between two keep-alive messages to Mongrel2 for connections with an open request. Default: 45,000. */
  keepAliveInterval?: number
  /** Connections that one reply may name: Mongrel2's `limits.handler_targets`, which drops a reply with more. Default: 128, as there. */
  handlerTargets?: number
  /**
   * Bytes of a streamed upload (`upload.stream`) that may be on their way to the handler: at first 256 KiB of them, all while the handler keeps up.
   * Default: 1 MiB.
   */
  uploadWindow?: number
  /** The authority in the URL of HTTP/1.0 requests that name no host. Default: `localhost`. */
  host?: string
  /**
   * Whose X-Forwarded-For, -Proto and -Host are trusted: nobody's (false), those of so many proxies in front of Mongrel2, or all (true). Mongrel2
   * overwrites X-Forwarded-For unless its setting `no_clobber_xff` is on. Default: false.
   */
  trustProxy?: TrustProxy
  /**
   * Milliseconds between two parts of a streamed body that its handler waits for, as nginx's `client_body_timeout`; then the client gets a 408, and
   * `request.signal` is aborted. 0 is no limit. Default: 60,000.
   */
  bodyTimeout?: number
  /** Time for a handler to return its Response in milliseconds; then the client gets a 504. Default: 0, no limit. */
  requestTimeout?: number
  /** Upper bound of a request's body in bytes; a larger one gets a 413. Default: none but Mongrel2's. */
  maxBodySize?: number
  /**
   * Upper bound of one message's body in bytes: a WebSocket frame, or a request's body up to Mongrel2's `limits.content_length`. A larger one is not
   * kept, and its connection is closed: a WebSocket with 1009, a request with a 413. Default: 16 MiB.
   */
  maxMessageSize?: number
  /** Makes the response when the handler throws or rejects. Where it returns undefined or fails, the client gets a bare 500. */
  onError?: (error: unknown, request: Request) => Response | undefined | Promise<Response | undefined>
  /** Called with a request when Mongrel2 begins to store its body. A Response is sent at once and closes the connection; undefined accepts it. */
  onUploadStart?: (request: Request) => Response | undefined | Promise<Response | undefined>
  /** Called when a request has ended: its response is published in full, or was given up. Its errors are logged. */
  onRequestEnd?: (entry: RequestEntry) => void
  /** Whether to count requests, for `metrics()` of the server. Default: false. */
  metrics?: boolean
  /** Where to write a line for each request: a file, or `-` for stdout. Default: nowhere. */
  accessLog?: string
  /**
   * The lines of `accessLog`: `combined`, as Apache and nginx write them, `json`, or a text with fields of `RequestEntry` in braces, such as
   * `{time} {method} {target} {status}`. Default: `combined`.
   */
  accessLogFormat?: string
  /**
   * A file to which requests that fail (a status from 500 on, or given up) are written with their responses, for `mongrel2-fetch replay`: a JSON
   * object a line, bodies up to 16 KiB. The headers Authorization, Proxy-Authorization, Cookie and Set-Cookie are left out. Default: nowhere.
   */
  record?: string
  /** Records every so many requests too, whatever their response; each worker counts its own. Default: 0, only those that fail. */
  recordEvery?: number
  /** Names of more headers, of requests and responses, that `record` leaves out. */
  recordOmit?: readonly string[]
  /** Handlers of JSON and XML messages, which reach Mongrel2 on routes such as `@chat` and `<chat`. Without them, connections that send one are closed. */
  messages?: MessageHandlers
  /** Where log lines go. Default: the console, for warnings and errors. */
  logger?: Logger
  /**
   * Whether to replace the global Request, Response and fetch, while a server runs, by ones that make quicker objects of the same behaviour. A
   * string or bytes as a response's body then cost next to nothing. Do not use it in a process that you share with others. Default: false.
   */
  overrideGlobalObjects?: boolean
  /** Closes the server, as `close()` does, when it is aborted. */
  signal?: AbortSignal
}

/** The form of RFC 9562, section 4. */
const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i

/** More connections than Mongrel2 can have. */
const MOST_HANDLER_TARGETS = 65_535

export const SERVER_OPTIONS = {
  zeromq: ZEROMQ,
  ...OF_ENDPOINTS,
  identity: is.text('a UUID', (text) => UUID.test(text), {
    initial: () => crypto.randomUUID(),
    placeholder: 'UUID',
    fallback: 'a new UUID',
    help: 'The identity of the sockets.',
  }),
  shared: is.boolean(false, {
    help: 'Accept stored bodies whose start message went to another process that pulls from the same Handler.',
  }),
  maxInFlight: is.count(1024, [1], { help: 'Handlers that run at once.' }),
  maxQueued: is.count(1024, [0], { help: 'Requests that wait for one of those places; those beyond get a 503.' }),
  maxPipelined: is.count(16, [1], { help: 'Requests of one connection that are worked on at once.' }),
  maxBufferedBytes: is.bytes(8 * is.MIB, [64 * is.KIB, is.MAX_BYTES], {
    help: 'Bytes held of one streaming response until its client reads them.',
  }),
  minClientRate: is.bytes(16 * is.KIB, [1], {
    help: 'Bytes a second that a client must read where Mongrel2 does not tell what it has read.',
  }),
  maxWaitingBytes: is.bytes(256 * is.MIB, [1], {
    help: 'Bytes that may wait in Mongrel2 for all clients together where it does not tell what they have read.',
  }),
  keepAliveInterval: is.milliseconds(45_000, 1, {
    help: 'How often Mongrel2 is told to keep connections with an open request.',
  }),
  handlerTargets: is.count(HANDLER_TARGETS, [1, MOST_HANDLER_TARGETS], {
    help: "Connections that one reply may name: Mongrel2's limits.handler_targets.",
  }),
  uploadWindow: is.bytes(is.MIB, [is.KIB, is.MAX_BYTES], {
    help: 'Bytes of a streamed upload that may be on their way to a handler that keeps up; at first 256 KiB.',
  }),
  bodyTimeout: is.milliseconds(60_000, 0, {
    help: 'How long a client may take between two parts of a streamed body; then 408. 0 is no limit.',
  }),
  requestTimeout: is.milliseconds(0, 0, {
    fallback: '0, none',
    help: 'How long a handler may take to return its Response; then 504.',
  }),
  maxBodySize: is.bytes(Number.MAX_SAFE_INTEGER, [0], {
    fallback: 'none',
    help: 'Larger request bodies get a 413.',
  }),
  host: is.text('a host, with a port perhaps, such as example.org:8080', isAuthority, {
    initial: 'localhost',
    placeholder: 'HOST',
    help: 'The authority in the URL of HTTP/1.0 requests that name no host.',
  }),
  trustProxy: is.option<TrustProxy>(
    'true, false or a number of proxies',
    (value) => typeof value === 'boolean' || (Number.isSafeInteger(value) && Number(value) >= 0),
    {
      initial: false,
      read: (given) => (typeof is.booleanIn(given) === 'boolean' ? is.booleanIn(given) : is.numberIn(given)),
      placeholder: 'N|true',
      help: 'Proxies in front of Mongrel2 whose X-Forwarded headers are believed.',
    },
  ),
  overrideGlobalObjects: is.boolean(false, { help: 'Replace the global Request, Response and fetch by quick ones.' }),
  onError: is.callback<Mongrel2Options['onError']>(),
  onUploadStart: is.callback<Mongrel2Options['onUploadStart']>(),
  onRequestEnd: is.callback<Mongrel2Options['onRequestEnd']>(),
  metrics: is.boolean(false, { help: 'Count requests, bytes and times, as --admin does on its own.' }),
  accessLog: is.text('a path or -', undefined, {
    placeholder: 'FILE|-',
    fallback: 'none',
    help: 'Write a line for each request to a file, or to stdout. SIGHUP opens the file anew.',
  }),
  accessLogFormat: is.checkedBy(
    (name, format = 'combined') => {
      if (typeof format !== 'string') throw invalid(name, LINE_FORMAT_FORM, format)
      lineFormat(format, name)
      return format
    },
    {
      fallback: 'combined',
      placeholder: 'combined|json|TEMPLATE',
      help: 'The lines of --access-log; a template has fields in braces, such as {method} {target} {status}.',
    },
  ),
  record: is.text('a path or -', undefined, {
    placeholder: 'FILE',
    fallback: 'none',
    help: 'Write requests that fail with their responses to a file, for `mongrel2-fetch replay`. SIGHUP opens the file anew.',
  }),
  recordEvery: is.count(0, [0], {
    fallback: '0, only those that fail',
    help: 'Let --record write every so many requests too.',
  }),
  recordOmit: is.texts({
    initial: [],
    repeated: true,
    placeholder: 'HEADER',
    help: 'A header that --record leaves out, beside Authorization and cookies. The flag can be given again; in the variable they are separated by spaces.',
  }),
  messages: MESSAGES,
  logger: is.LOGGER,
  signal: is.SIGNAL,
} satisfies is.Described<Mongrel2Options>
const checkServerOptions = is.checkerOf('option', 'an object with at least zeromq', SERVER_OPTIONS)

/** The options, checked and with their defaults. */
export interface Settings extends Omit<is.Checked<typeof SERVER_OPTIONS>, keyof EndpointOptions | 'zeromq'> {
  readonly fetch: FetchHandler
  readonly endpoints: readonly EndpointSettings[]
}

/** Checks the arguments of `serveMongrel2`; throws a Mongrel2Error `invalid_option`. */
export function checkOptions(handler: Mongrel2Handler, options: Mongrel2Options): Settings {
  const checked = checkServerOptions(options)
  const { zeromq, link, chroot, uploads, flowControl, controlPort, maxMessageSize, ...settings } = checked
  const ofAll = { link, chroot, uploads, flowControl, controlPort, maxMessageSize }
  const endpoints = zeromq.map((endpoint) => endpointSettings(endpoint, ofAll))
  return { fetch: fetchOf(handler), endpoints, ...settings }
}

/** The options of one of `count` servers of the same Mongrel2, which share the bytes that may wait there. */
export function optionsForOneOf(count: number, options: Mongrel2Options): Mongrel2Options {
  const maxWaitingBytes = SERVER_OPTIONS.maxWaitingBytes.check('maxWaitingBytes', options.maxWaitingBytes)
  return { ...options, maxWaitingBytes: Math.max(1, Math.floor(maxWaitingBytes / count)) }
}
