import { invalid, isObject } from '../runtime/errors.ts'
import type { ClientCertificate } from '../wire/client-certificate.ts'

/**
 * A fetch handler: takes a Request of the Fetch standard, what Mongrel2 says about it, and a context, as handlers of Hono, itty-router and the
 * WinterTC runtimes do; returns a Response.
 */
export type FetchHandler = (
  request: ServedRequest,
  env: Mongrel2Env,
  ctx: Mongrel2Context,
) => Response | Promise<Response>

/**
 * The handler's first argument: a Request with two properties of srvx, in which h3, Nitro and others find the client's address and `waitUntil`.
 * Requests made from it, as by `clone()`, have neither.
 */
export interface ServedRequest extends Request {
  /** As `env.mongrel2.remoteAddress`. */
  readonly ip?: string | undefined
  /** The context's function, callable without `this`. */
  readonly waitUntil?: (promise: Promise<unknown>) => void
}

/** The handler's second argument. A type, not an interface, since React Router's handler needs an index signature. */
export type Mongrel2Env = {
  readonly mongrel2: MessageInfo
  /** The client's address where apps on Node's own server find it, such as `getConnInfo` of `@hono/node-server/conninfo`. */
  readonly incoming?: IncomingConnection
}

/** The part of Node's `IncomingMessage` that identifies the client. */
export interface IncomingConnection {
  readonly socket: {
    /** As `mongrel2.remoteAddress`. */
    readonly remoteAddress: string | undefined
    /** Mongrel2 does not tell it. */
    readonly remotePort: undefined
    readonly remoteFamily: 'IPv4' | 'IPv6' | undefined
  }
}

/** What Mongrel2 says about a request. It has no header fields of the client, except for values of trusted proxies (`trustProxy`). */
export interface MessageInfo {
  /** The Handler's `send_ident`. */
  readonly sender: string
  /** Mongrel2's number for the client's connection, unique while that Mongrel2 runs. */
  readonly connectionId: number
  /** The route that matched, such as `/api/`. */
  readonly pattern: string
  /** The client's address: the peer's, or with `trustProxy` the one that the outermost trusted proxy saw. */
  readonly remoteAddress: string
  /** `http` or `https`: the listening socket's, or with `trustProxy` the one that the outermost trusted proxy saw. */
  readonly scheme: string
  /** The certificate of Mongrel2's peer, the client or a proxy, if Mongrel2 asks for one (`ssl.verify_optional`) and it has shown one. */
  readonly clientCertificate?: ClientCertificate | undefined
  /** The client's HTTP version, such as `HTTP/1.1`. */
  readonly version: string
  /** Mongrel2's upper-case headers: METHOD, PATH, URI, QUERY, PATTERN, VERSION, URL_SCHEME, REMOTE_ADDR and others. */
  readonly headers: Readonly<Record<string, string>>
  /** The file of a body that Mongrel2 has stored. */
  readonly upload?: UploadInfo
  /**
   * Lets any process answer later by `reply(token, response)` of `createReplier`; the handler has to return the deferral's `response`. The
   * connection is closed after the answer.
   *
   * Resolves when the client has the answers to its earlier requests on the connection. `request.signal` is aborted when the client leaves, when
   * the time is over, and some time after the answer, which is not noticed in another way.
   *
   * @throws Mongrel2Error `not_deferrable` when the request was answered or deferred before, or its body has not arrived in full; `invalid_option`.
   * DOMException `AbortError` when the client leaves before.
   */
  defer(options?: DeferOptions): Promise<Deferral>
}

/** Options of `env.mongrel2.defer`. */
export interface DeferOptions {
  /** Time for the answer in milliseconds; then the client gets a 504 and `request.signal` is aborted. Default: 60,000. */
  timeout?: number
}

/** The result of `env.mongrel2.defer`. */
export interface Deferral {
  /** The token for `reply` of `createReplier`, in any process. */
  readonly token: string
  /** The response that the handler has to return. */
  readonly response: Response
}

/** A body that Mongrel2 has stored in a file (`upload.temp_store`). */
export interface UploadInfo {
  /** The file's path as seen from this process. The file is deleted after the response, unless `uploads.keep` is set. */
  readonly path: string
  /** Its length in bytes. */
  readonly size: number
}

/** The handler's third argument. */
export interface Mongrel2Context {
  /** Makes `close()` wait for work that goes on after the response; a rejection is logged. */
  waitUntil(promise: Promise<unknown>): void
  /** Has no effect; for handlers written for runtimes with an origin server. */
  passThroughOnException(): void
  /** Always empty; for handlers written for runtimes that pass something. */
  readonly props: Record<string, never>
}

/** The function of a handler, which is the function or an object with it as `fetch`. Throws Mongrel2Error `invalid_option` for anything else. */
export function fetchOf<Fetch extends (request: never, env: never, ctx: never) => unknown>(handler: unknown): Fetch {
  if (typeof handler === 'function') return handler as Fetch
  if (isObject(handler) && typeof handler.fetch === 'function') {
    const app = handler as { fetch: Fetch }
    return ((request: never, env: never, ctx: never) => app.fetch(request, env, ctx)) as Fetch
  }
  throw invalid('the handler', 'a function (request, env, ctx) => Response, or an object with such a fetch', handler)
}
