import type { IncomingFrames } from '../connection/carried.ts'
import type { Connection } from '../connection/connection.ts'
import type { MessageInfo, Mongrel2Env } from '../platform/handler.ts'
import { isDerived } from '../platform/light-response.ts'
import { forbiddenOrigin, responseOf } from '../platform/outcomes.ts'
import { platform } from '../platform/stand-in.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { lazy } from '../runtime/process/lazy.ts'
import type { HeaderField } from '../wire/headers.ts'
import { isReserved, renderHead } from '../wire/http.ts'
import type { Message } from '../wire/message.ts'
import type { HandshakeRequest } from './handshake-request.ts'
import { checkUpgradeOptions, type SocketSettings, type UpgradeWebSocketOptions } from './options.ts'
import { acceptDeflate, PerMessageDeflate, renderDeflate } from './permessage-deflate.ts'
import { Session, type SessionEvents } from './session.ts'
import { ServerWebSocket, sessionOf } from './socket.ts'

/** Most frames, and bytes, that may come before the handshake is answered. */
const MOST_EARLY_FRAMES = 128
const MOST_EARLY_BYTES = 1024 * 1024

/** What `upgradeWebSocket` returns. */
export interface WebSocketUpgrade {
  /** Opens when the handler has returned the response. */
  readonly socket: ServerWebSocket
  /** The response for the handler to return. */
  readonly response: Response
}

/** Handshakes by the Request and the `env.mongrel2` that their handlers were called with. */
const handshakes = new WeakMap<Request | MessageInfo, Handshake>()

/**
 * Accepts a WebSocket, as in Deno. The socket opens when the handler returns the response. When the handler returns another one, the socket
 * gets an error event and a close event with the code 1006.
 *
 * The response has the status 101, which the platform's constructor refuses: middleware that copies it has to leave the status out, as
 * `new Response(null, { headers: response.headers })` does. A response with another status or with a body refuses the handshake.
 *
 * @param request The handler's first argument: a GET with the header fields of the handshake.
 * @param options Sizes are in bytes, times in milliseconds.
 * @param env The handler's second argument, needed only where middleware may have replaced the request.
 * @throws Mongrel2Error `not_a_handshake` when the request is no handshake, or was upgraded or answered before; a handler that does not catch
 * it answers with 426. `invalid_option` when an option is wrong, or the client does not offer the `protocol`.
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
    const expected = 'expected the request or the env that the handler was called with for a WebSocket handshake'
    throw new Mongrel2Error('not_a_handshake', expected)
  }
  return handshake.upgrade(options)
}

/** The session of the WebSocket whose handshake had this `env.mongrel2`. */
export function sessionOpenedFor(info: MessageInfo): Session | undefined {
  return handshakes.get(info)?.session
}

/** A client's handshake until it is answered. Frames that come before wait in it. */
export class Handshake implements IncomingFrames {
  readonly takes = 'frame'
  readonly #request: HandshakeRequest
  readonly #url: string
  readonly #connection: Connection
  readonly #settings: SocketSettings
  readonly #report: (error: unknown) => void
  readonly #early: Message[] = []
  #earlyBytes = 0
  /** What the user has made of it. The response accepts the handshake, or refuses its origin. */
  #upgrade: WebSocketUpgrade | undefined
  /** The server closes. */
  #leaving = false
  /** The handshake can still be accepted. */
  #pending = true

  /** @param report Called with what a listener of the socket throws. */
  constructor(
    request: HandshakeRequest,
    url: string,
    connection: Connection,
    settings: SocketSettings,
    report: (error: unknown) => void,
  ) {
    this.#request = request
    this.#url = url.replace(/^http/, 'ws')
    this.#connection = connection
    this.#settings = settings
    this.#report = report
  }

  /** Lets `upgradeWebSocket` find the handshake. */
  register(request: Request, info: MessageInfo): void {
    handshakes.set(request, this)
    handshakes.set(info, this)
  }

  /** Makes the socket and the response that opens it; throws as `upgradeWebSocket` does. */
  upgrade(options: UpgradeWebSocketOptions): WebSocketUpgrade {
    if (this.#upgrade !== undefined || !this.#pending) {
      throw new Mongrel2Error('not_a_handshake', 'expected a handshake that was neither upgraded nor answered before')
    }
    const settings = checkUpgradeOptions(options, this.#request.protocols, this.#settings)
    const terms = settings.deflate && acceptDeflate(this.#request.extensions, settings.deflate.contextTakeover)
    // An object of its own: a session lives long, the rest of the settings need not.
    const { maxPayload, idleTimeout, maxBufferedBytes, deflate } = settings
    const kept = { maxPayload, idleTimeout, maxBufferedBytes, deflate }
    const begin = (events: SessionEvents) =>
      new Session(this.#connection, kept, terms && new PerMessageDeflate(terms, maxPayload), events)
    const extensions = terms === undefined ? '' : renderDeflate(terms)
    const socket = new ServerWebSocket(this.#url, settings.protocol ?? '', extensions, begin, this.#report)
    const { headers, allows } = settings
    for (const [name, value] of this.#fields(socket)) headers.set(name, value)
    const accepted = allows(this.#request.origin)
    this.#upgrade = {
      socket,
      response: accepted ? new (upgradeResponse())(null, { headers }) : responseOf(forbiddenOrigin()),
    }
    return { ...this.#upgrade }
  }

  /** The session of its socket. */
  get session(): Session | undefined {
    return this.#upgrade && sessionOf(this.#upgrade.socket)
  }

  /** Whether a response is the one that accepts the handshake, or middleware's copy of it. */
  accepts(response: Response): boolean {
    if (!this.#pending || this.#upgrade === undefined || !isUpgradeResponse(this.#upgrade.response)) return false
    // The platform's constructor refuses the status 101, so a copy has 200.
    return response === this.#upgrade.response || isDerived(response, 200, 'sec-websocket-accept', this.#request.accept)
  }

  /** Answers with a response that accepts the handshake, and opens the socket. */
  open(response: Response): void {
    if (this.#upgrade === undefined) return
    const { socket } = this.#upgrade
    const session = sessionOf(socket)
    this.#pending = false
    this.#connection.outbox.write(this.#head(response.headers, socket))
    this.#connection.frames = session
    session.open()
    if (this.#leaving) session.end()
    for (const message of this.#early.splice(0)) session.receive(message)
  }

  /** Fails the socket, since the handshake got another answer. `why` completes "its handshake was". */
  reject(why: string): void {
    if (this.#end()) this.session?.lost(new Error(`the WebSocket did not open: its handshake was ${why}`))
  }

  receive(message: Message): void {
    if (!this.#pending) return
    if (this.#early.length >= MOST_EARLY_FRAMES || this.#earlyBytes >= MOST_EARLY_BYTES) return this.#connection.close()
    this.#early.push(message)
    this.#earlyBytes += message.body.length
  }

  lost(): void {
    if (this.#end()) this.session?.lost()
  }

  /** Does not wait: the handler decides when it answers. */
  async goAway(): Promise<void> {
    this.#leaving = true
  }

  end(): void {
    this.#leaving = true
  }

  /** Returns whether the handshake could still be accepted. */
  #end(): boolean {
    const pending = this.#pending
    this.#pending = false
    this.#early.length = 0
    return pending
  }

  /** The handshake's own fields replace what middleware has made of them. */
  #head(headers: Headers, socket: ServerWebSocket): Buffer {
    const others = [...headers].filter(([name]) => !isReserved(name) && !/^(?:sec-websocket-|content-)/.test(name))
    return renderHead(101, 'Switching Protocols', [...this.#fields(socket), ...others])
  }

  #fields({ protocol, extensions }: ServerWebSocket): HeaderField[] {
    const fields: HeaderField[] = [
      ['upgrade', 'websocket'],
      ['connection', 'Upgrade'],
      ['sec-websocket-accept', this.#request.accept],
    ]
    if (protocol !== '') fields.push(['sec-websocket-protocol', protocol])
    if (extensions !== '') fields.push(['sec-websocket-extensions', extensions])
    return fields
  }
}

/** The class of what accepts a WebSocket. The platform's Response refuses the status 101: a copy has 200, no body and the same Sec-WebSocket-Accept. */
const upgradeResponse = lazy(
  () =>
    class UpgradeResponse extends platform.Response {
      override readonly status = 101
      override readonly statusText = 'Switching Protocols'
      override readonly ok = false
    },
)

/** Whether a response accepts a WebSocket, and is no copy. */
export function isUpgradeResponse(response: Response): boolean {
  return response instanceof upgradeResponse()
}
