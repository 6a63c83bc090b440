import type { MessageInfo, Mongrel2Env } from '../platform/handler.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import type { Handshake, WebSocketUpgrade } from './handshake.ts'
import type { UpgradeWebSocketOptions } from './options.ts'
import type { Session } from './session.ts'

/** The handshakes that handlers were called for, by their Request and by what Mongrel2 says about them. */
const handshakes = new WeakMap<Request | MessageInfo, Handshake>()

/** Lets `upgradeWebSocket` find a handshake. */
export function registerHandshake(handshake: Handshake, request: Request, info: MessageInfo): void {
  handshakes.set(request, handshake)
  handshakes.set(info, handshake)
}

/** The session of the WebSocket whose handshake this was said about. */
export function sessionOpenedFor(info: MessageInfo): Session | undefined {
  return handshakes.get(info)?.session
}

/**
 * Accepts a WebSocket, as in Deno: the socket opens when the handler returns the response, and fails with an error and a close event, with the
 * code 1006, when it returns another.
 *
 * The response has the status 101, which the platform's constructor refuses: middleware that makes it anew has to leave that out, as
 * `new Response(null, { headers: response.headers })` does. A response with another status or with a body refuses the handshake, whatever its
 * header fields.
 *
 * @param request The handler's first argument: a GET with the header fields of the handshake.
 * @param options Sizes are in bytes, times in milliseconds.
 * @param env The handler's second argument, needed only where the request may be another than the one that the handler was called with.
 * @throws Mongrel2Error `not_a_handshake` when the request is none, or was upgraded or answered before: a handler that lets it through
 * answers 426; `invalid_option` when an option
 * is wrong, or the client does not offer the `protocol`.
 *
 * @example
 * ```ts
 * serveMongrel2((request) => {
 *   const { socket, response } = upgradeWebSocket(request)
 *   socket.onmessage = ({ data }) => socket.send(data)
 *   return response
 * }, options)
 * ```
 */
export function upgradeWebSocket(
  request: Request,
  options: UpgradeWebSocketOptions = {},
  env?: Mongrel2Env,
): WebSocketUpgrade {
  const handshake = handshakes.get(request) ?? (env === undefined ? undefined : handshakes.get(env.mongrel2))
  if (handshake === undefined) {
    throw new Mongrel2Error(
      'not_a_handshake',
      'expected the request of a WebSocket handshake as the handler was called with, or its env',
    )
  }
  return handshake.upgrade(options)
}
