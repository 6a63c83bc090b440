import type { StatusCode } from 'hono/utils/http-status'
import {
  WSContext as Context,
  defineWebSocketHelper,
  type UpgradeWebSocket,
  type WSContext,
  type WSEvents,
} from 'hono/ws'
import { type ServerWebSocket, type UpgradeWebSocketOptions, upgradeWebSocket as upgrade } from '../../src/index.ts'
import { messageInfoOf } from './middleware.ts'

/** Options of Hono's `upgradeWebSocket` behind Mongrel2. */
export interface HonoUpgradeOptions extends UpgradeWebSocketOptions {
  /** Called with what the events' functions throw. Default: `console.error`. */
  onError?: (error: unknown) => void
}

/**
 * Accepts WebSockets by Hono's helper. A request that is no handshake goes to the next handler. Without the option `protocol` the client's first
 * subprotocol is used. Binary messages arrive as ArrayBuffer.
 *
 * Middleware sees a response with the status 200, since copies of it cannot have the status 101. The client gets 101, with the header fields
 * that middleware has set.
 *
 * @example
 * ```ts
 * app.get('/echo', upgradeWebSocket(() => ({ onMessage: ({ data }, ws) => ws.send(data) })))
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

/** Calls the functions of Hono's events for the socket's events. */
function connect(socket: ServerWebSocket, events: WSEvents<ServerWebSocket>, onError: (error: unknown) => void): void {
  const context: WSContext<ServerWebSocket> = new Context({
    raw: socket,
    url: socket.url,
    protocol: socket.protocol,
    get readyState() {
      return socket.readyState
    },
    send: (source) => socket.send(source),
    close: (code, reason) => socket.close(code, reason),
  })
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
