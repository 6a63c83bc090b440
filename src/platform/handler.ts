/**
 * What users write: a fetch handler as the Fetch standard's Request and Response make it, called with what Mongrel2 says
 * about the request and a context, as Hono, itty-router and the WinterTC runtimes do.
 */
export type FetchHandler = (
  request: ServedRequest,
  env: Mongrel2Env,
  ctx: Mongrel2Context,
) => Response | Promise<Response>

/**
 * The handler's first argument: the platform's Request with two properties of srvx's, by which h3, Nitro and others find the client's
 * address and `waitUntil`. A request that is made from it, as by `clone()`, has neither.
 */
export interface ServedRequest extends Request {
  /** The client's address, as `env.mongrel2.remoteAddress`. */
  readonly ip?: string | undefined
  /** The function of the context, which needs no `this`. */
  readonly waitUntil?: (promise: Promise<unknown>) => void
}

/** The handler's second argument. A type, not an interface: React Router's handler takes an object with an index signature, which only a type has. */
export type Mongrel2Env = {
  readonly mongrel2: MessageInfo
  /** The client's address where apps on Node's own server look for it: `getConnInfo` of `@hono/node-server/conninfo` reads it. */
  readonly incoming?: IncomingConnection
}

/** As much of Node's `IncomingMessage` as tells who the client is. */
export interface IncomingConnection {
  readonly socket: {
    /** As `mongrel2.remoteAddress`. */
    readonly remoteAddress: string | undefined
    /** Mongrel2 does not tell it. */
    readonly remotePort: undefined
    readonly remoteFamily: 'IPv4' | 'IPv6' | undefined
  }
}

/** What Mongrel2 says about a request. Nothing in here but what a proxy is trusted for (`trustProxy`) was written by the client. */
export interface MessageInfo {
  /** The Handler's `send_ident`. */
  readonly sender: string
  /** Mongrel2's number for the client's connection, unique while that Mongrel2 runs. */
  readonly connectionId: number
  /** The route that matched, such as `/api/`. */
  readonly pattern: string
  /** The client's address: the peer's, or with `trustProxy` the one that the outermost trusted proxy saw. */
  readonly remoteAddress: string
  /** `http` or `https`: the listening socket's, or with `trustProxy` what the outermost trusted proxy was asked by. */
  readonly scheme: string
  /** The client's HTTP version, such as `HTTP/1.1`. */
  readonly version: string
  /** Mongrel2's upper-case headers as they came: METHOD, PATH, URI, QUERY, PATTERN, VERSION, URL_SCHEME, REMOTE_ADDR and others. */
  readonly headers: Readonly<Record<string, string>>
  /** The file that Mongrel2 stored the body in; there only for bodies that it did. */
  readonly upload?: UploadInfo
  /**
   * Leaves the answer to somebody else, in this process or another: `reply(token, response)` of `createReplier` gives it, as long as
   * the handler returns `response`. The connection is closed after it.
   *
   * Resolves when the client has got the answers to what it asked before on the same connection. `request.signal` is aborted when the
   * client leaves or the time is over, and some time after the answer was given, of which nothing else is heard.
   *
   * @throws Mongrel2Error `not_deferrable` when it was answered or deferred before, or when its body has not arrived in full;
   * `invalid_option`. DOMException `AbortError` when the client leaves before.
   */
  defer(options?: DeferOptions): Promise<Deferral>
}

/** Options of `env.mongrel2.defer`. */
export interface DeferOptions {
  /** Milliseconds that the answer may take; then the client gets a 504 and `request.signal` is aborted. Default: 60,000. */
  timeout?: number
}

/** What `env.mongrel2.defer` gives. */
export interface Deferral {
  /** What `reply` of `createReplier` takes, in any process. */
  readonly token: string
  /** What the handler has to return. */
  readonly response: Response
}

/** A body that Mongrel2 has stored in a file (`upload.temp_store`). */
export interface UploadInfo {
  /** Where the file lies as seen from this process: deleted once the response is finished, unless `uploads.keep` is set. */
  readonly path: string
  /** Its length in bytes. */
  readonly size: number
}

/** The handler's third argument. */
export interface Mongrel2Context {
  /** Lets `close()` wait for work that goes on after the response; a rejection is logged. */
  waitUntil(promise: Promise<unknown>): void
  /** There for handlers written for runtimes that have an origin server to pass to. Here is none: it has no effect. */
  passThroughOnException(): void
  /** There for handlers written for runtimes that pass something; empty. */
  readonly props: Record<string, never>
}
