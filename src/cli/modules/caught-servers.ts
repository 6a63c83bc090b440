// Servers that an app makes by `serve` of `@hono/node-server` while it is loaded: the command serves the app instead of letting it listen.

import type { FetchHandler } from '../../platform/handler.ts'

/** A server that the app has made. */
export interface CaughtServer {
  readonly fetch: FetchHandler
  /** Lets it listen all the same: the app exports a handler beside it. */
  listen(): void
}

interface ServeOptions {
  readonly fetch: FetchHandler
  readonly port?: number
  readonly hostname?: string
}

interface NodeHttpServer {
  listen(port: number, hostname: string | undefined, listening: () => void): unknown
  address(): unknown
}

type Serve = (options: ServeOptions, listening?: (address: unknown) => void) => NodeHttpServer

/** The used part of `@hono/node-server`. */
interface NodeServerModule {
  readonly serve: Serve
  createAdaptorServer(options: ServeOptions): NodeHttpServer
}

/** Those of the app that is being loaded. */
let servers: CaughtServer[] | undefined

/** Loads an app; its servers do not listen. */
export async function catchServers<T>(load: () => Promise<T>): Promise<[loaded: T, servers: readonly CaughtServer[]]> {
  const caught: CaughtServer[] = []
  servers = caught
  try {
    return [await load(), caught]
  } finally {
    servers = undefined
  }
}

/** Makes the `serve` that the app gets instead of that of the module. */
export function caughtServe({ serve, createAdaptorServer }: NodeServerModule): Serve {
  return (options, listening) => {
    if (servers === undefined) return serve(options, listening)
    const server = createAdaptorServer(options)
    const { fetch, port = 3000, hostname } = options
    servers.push({ fetch, listen: () => server.listen(port, hostname, () => listening?.(server.address())) })
    return server
  }
}
