import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { closeOnce } from '../../src/options/close.ts'
import * as is from '../../src/options/option.ts'
import { fetchOf, type Mongrel2Context } from '../../src/platform/handler.ts'
import { otherLifetimes } from '../../src/platform/request.ts'
import { describeError, type Logger } from '../../src/runtime/log.ts'
import { delay } from '../../src/runtime/promises.ts'

/** The handler's second argument: Node's request and response, without `mongrel2`. */
export type NodeEnv = HttpBindings & { readonly mongrel2?: undefined }

/** A fetch handler that runs without Mongrel2. */
export type NodeFetchHandler = (request: Request, env: NodeEnv, ctx: Mongrel2Context) => Response | Promise<Response>

/** A fetch handler, or an object with one. */
export type NodeHandler = NodeFetchHandler | { fetch: NodeFetchHandler }

/** Options of `serveNode`. */
export interface NodeServeOptions {
  /** The port to listen on; 0 for any free one. */
  port: number
  /** The address to listen on. Default: all addresses of this machine. */
  host?: string
  /** Where log lines go. Default: the console, for warnings and errors. */
  logger?: Logger
}

const OPTIONS = {
  port: is.PORT,
  host: is.text('a host name or an address', () => true),
  logger: is.LOGGER,
} satisfies is.Described<NodeServeOptions>
const checkOptions = is.checkerOf('option', 'an object with at least port', OPTIONS)

/** A running server. */
export interface NodeServer extends AsyncDisposable {
  /** The address that it listens on. */
  readonly address: AddressInfo
  /**
   * Accepts no more connections, answers open requests, then waits for the tasks of `waitUntil`. A second call returns the promise of the first.
   *
   * @param options.timeout Milliseconds after which open connections are cut. Default: 10,000.
   */
  close(options?: { timeout?: number }): Promise<void>
}

/**
 * Serves a handler on an HTTP socket by `@hono/node-server`, without Mongrel2: beside `serveMongrel2` or in its place. The handler is called as
 * `fetch(request, env, ctx)`, where `env` is `{ incoming, outgoing }`.
 *
 * @throws Mongrel2Error `invalid_option` when an option is wrong; the error of Node when it cannot listen there, such as `EADDRINUSE`.
 *
 * @example
 * ```ts
 * import { serveNode } from 'mongrel2-fetch/node'
 *
 * const server = await serveNode(() => new Response('Hello'), { port: 8080 })
 * ```
 */
export async function serveNode(handler: NodeHandler, options: NodeServeOptions): Promise<NodeServer> {
  const fetch = fetchOf<NodeFetchHandler>(handler)
  const { port, host, logger } = checkOptions(options)
  const background = new Set<Promise<void>>()
  const context: Mongrel2Context = {
    waitUntil(promise) {
      const settled = promise
        .catch((error: unknown) => logger.error?.(`mongrel2-fetch: waitUntil failed: ${describeError(error)}`))
        .then(() => void background.delete(settled))
      background.add(settled)
    },
    passThroughOnException() {},
    props: {},
  }
  // By its type `env` may have the objects of HTTP/2, but not from this server.
  const listener = getRequestListener(
    (request, env) => {
      const { outgoing } = env as NodeEnv
      otherLifetimes.set(request, { whenEnding: (action) => whenClosed(outgoing, action) })
      return fetch(request, env as NodeEnv, context)
    },
    { overrideGlobalObjects: false },
  )
  const server = createServer((incoming, outgoing) => void listener(incoming, outgoing))
  await once(server.listen(port, host), 'listening')

  const close = closeOnce({}, (timeout) => end(server, background, timeout))
  return { address: server.address() as AddressInfo, close, [Symbol.asyncDispose]: () => close() }
}

function whenClosed(outgoing: NodeEnv['outgoing'], action: () => void): () => void {
  if (outgoing.closed) action()
  else outgoing.once('close', action)
  return () => outgoing.off('close', action)
}

async function end(server: Server, background: Set<Promise<void>>, timeout: number): Promise<void> {
  const late = delay(timeout)
  const ended = once(server.close(), 'close')
  await Promise.race([ended.then(() => Promise.all(background)), late])
  server.closeAllConnections()
  await ended
}
