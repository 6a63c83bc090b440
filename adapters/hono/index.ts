import { isIP } from 'node:net'
import type { Context } from 'hono'
import type { ConnInfo, GetConnInfo } from 'hono/conninfo'
import { createMiddleware } from 'hono/factory'
import type { StatusCode } from 'hono/utils/http-status'
import { defineWebSocketHelper, type UpgradeWebSocket, WSContext, type WSEvents } from 'hono/ws'
import {
  type MessageInfo,
  type Mongrel2Env,
  type ServerWebSocket,
  type UpgradeWebSocketOptions,
  upgradeWebSocket as upgrade,
} from '../../src/index.ts'

/** `c.env` behind Mongrel2: `new Hono<{ Bindings: Bindings }>()`. */
export type Bindings = Mongrel2Env

/** The variables that `mongrel2()` sets in `c.var`. */
export interface Mongrel2Variables {
  /** What Mongrel2 says about the request. */
  mongrel2: MessageInfo
}

/**
 * Middleware that sets `c.var.mongrel2` to what Mongrel2 says about the request. On another server its routes answer 501.
 *
 * @example
 * ```ts
 * import { Hono } from 'hono'
 * import { mongrel2 } from 'mongrel2-fetch/hono'
 *
 * const app = new Hono().get('/whoami', mongrel2(), (c) => c.text(c.var.mongrel2.remoteAddress))
 * ```
 */
export const mongrel2 = () =>
  createMiddleware<{ Variables: Mongrel2Variables }>(async (c, next) => {
    const info = messageInfoOf(c)
    if (info === undefined) {
      return c.text('This route needs Mongrel2: serve the app with serveMongrel2() of mongrel2-fetch.\n', 501)
    }
    c.set('mongrel2', info)
    return await next()
  })

function messageInfoOf(c: Context): MessageInfo | undefined {
  return (c.env as Partial<Bindings> | undefined)?.mongrel2
}

/** A part of `c.env` on @hono/node-server. */
interface NodeBindings {
  readonly incoming: { readonly socket: { readonly remoteAddress?: string; readonly remotePort?: number } }
}

/**
 * The client's address by Hono's interface: behind Mongrel2, without the port, and on Node's HTTP server (`serveNode`, `@hono/node-server`).
 *
 * @throws Error when the app runs on another server.
 * @see https://hono.dev/docs/helpers/conninfo
 */
export const getConnInfo: GetConnInfo = (c) => {
  const info = messageInfoOf(c)
  if (info !== undefined) return connInfo(info.remoteAddress)
  const { incoming } = (c.env ?? {}) as Partial<NodeBindings>
  if (incoming !== undefined) return connInfo(incoming.socket.remoteAddress, incoming.socket.remotePort)
  throw new Error(
    'expected a request from Mongrel2 or Node: getConnInfo of mongrel2-fetch/hono works behind serveMongrel2() and serveNode() only',
  )
}

function connInfo(address: string | undefined, port?: number): ConnInfo {
  const version = isIP(address ?? '')
  return {
    remote: {
      ...(address === undefined ? {} : { address }), // a closed socket has no address
      ...(port === undefined ? {} : { port }),
      ...(version === 0 ? {} : { addressType: version === 6 ? ('IPv6' as const) : ('IPv4' as const) }),
      transport: 'tcp',
    },
  }
}

/** Options of Hono's `upgradeWebSocket` behind Mongrel2. */
export interface HonoUpgradeOptions extends UpgradeWebSocketOptions {
  /** Called with what the events' functions throw. Default: `console.error`. */
  onError?: (error: unknown) => void
}

/**
 * Accepts WebSockets by Hono's helper. Other requests go to the next handler. Without the option `protocol` the client's first subprotocol is
 * used. Binary messages arrive as ArrayBuffer.
 *
 * Middleware sees a response with the status 200, since copies cannot have the status 101. The client gets 101, with the header fields that
 * middleware has set.
 *
 * @example
 * ```ts
 * import { Hono } from 'hono'
 * import { upgradeWebSocket } from 'mongrel2-fetch/hono'
 *
 * const app = new Hono().get('/echo', upgradeWebSocket(() => ({ onMessage: ({ data }, ws) => ws.send(String(data)) })))
 * ```
 * @see https://hono.dev/docs/helpers/websocket
 */
export const upgradeWebSocket: UpgradeWebSocket<ServerWebSocket, HonoUpgradeOptions> = defineWebSocketHelper(
  (c, events: WSEvents<ServerWebSocket>, { onError = console.error, ...options }: HonoUpgradeOptions = {}) => {
    const mongrel2 = messageInfoOf(c)
    if (mongrel2?.headers.METHOD !== 'WEBSOCKET_HANDSHAKE') return
    const [protocol] = c.req.header('sec-websocket-protocol')?.split(',') ?? []
    const offered = protocol === undefined ? {} : { protocol: protocol.trim() }
    const { socket, response } = upgrade(c.req.raw, { ...offered, ...options }, { mongrel2 })
    connect(socket, events, onError)
    // `new Response` would lose the fields that middleware has set by `c.header`.
    const status = response.status === 101 ? 200 : (response.status as StatusCode)
    return c.newResponse(response.body, { status, headers: response.headers })
  },
)

/** What Hono makes its context of. A class: a getter in an object literal would be a kind of object of its own for each socket. */
class ContextSource {
  readonly raw: ServerWebSocket
  readonly url: string
  readonly protocol: string

  constructor(raw: ServerWebSocket) {
    this.raw = raw
    this.url = raw.url
    this.protocol = raw.protocol
  }

  get readyState(): 0 | 1 | 2 | 3 {
    return this.raw.readyState
  }

  send(source: Parameters<ServerWebSocket['send']>[0]): void {
    this.raw.send(source)
  }

  close(code?: number, reason?: string): void {
    this.raw.close(code, reason)
  }
}

/** Calls the listeners of Hono's events for the socket's events. */
function connect(socket: ServerWebSocket, events: WSEvents<ServerWebSocket>, onError: (error: unknown) => void): void {
  const context = new WSContext<ServerWebSocket>(new ContextSource(socket))
  const guarded =
    <Dispatched>(listener: ((event: Dispatched, context: WSContext<ServerWebSocket>) => unknown) | undefined) =>
    async (event: Dispatched) => {
      try {
        await listener?.(event, context)
      } catch (error) {
        onError(error)
      }
    }
  socket.binaryType = 'arraybuffer'
  socket.addEventListener('open', guarded(events.onOpen))
  socket.addEventListener('message', guarded(events.onMessage))
  socket.addEventListener('close', guarded(events.onClose))
  socket.addEventListener('error', guarded(events.onError))
}
