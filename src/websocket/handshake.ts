import type { IncomingFrames } from '../connection/carried.ts'
import type { Connection } from '../connection/connection.ts'
import { isDerived } from '../platform/light-response.ts'
import { forbiddenOrigin, responseOf } from '../platform/outcomes.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { isReserved, renderHead } from '../wire/http.ts'
import type { Message } from '../wire/message.ts'
import type { HandshakeRequest } from './handshake-request.ts'
import {
  checkUpgradeOptions,
  type SocketSettings,
  type UpgradeSettings,
  type UpgradeWebSocketOptions,
} from './options.ts'
import { acceptDeflate, PerMessageDeflate, renderDeflate } from './permessage-deflate.ts'
import { Session } from './session.ts'
import { ServerWebSocket } from './socket.ts'
import { createUpgradeResponse, isUpgradeResponse } from './upgrade-response.ts'

/** Frames that may come before the handshake was answered, and the bytes from which on no more may. */
const MOST_EARLY_FRAMES = 128
const MOST_EARLY_BYTES = 1024 * 1024

/** What `upgradeWebSocket` gives. */
export interface WebSocketUpgrade {
  /** It opens when the response is returned. */
  readonly socket: ServerWebSocket
  /** What the handler has to return. */
  readonly response: Response
}

/** A client's handshake until it is answered. Frames that come before that are kept. */
export class Handshake implements IncomingFrames {
  readonly takes = 'frame'
  readonly #request: HandshakeRequest
  readonly #url: string
  readonly #connection: Connection
  readonly #settings: SocketSettings
  readonly #report: (error: unknown) => void
  readonly #early: Message[] = []
  #earlyBytes = 0
  #session: Session | undefined
  #socket: ServerWebSocket | undefined
  /** The response that accepts it, or refuses its origin. */
  #response: Response | undefined
  #leaving = false
  /** Whether it can still be accepted. */
  #pending = true

  /**
   * @param url The URL that was asked for, with the scheme of HTTP.
   * @param settings What holds for every socket of the server.
   * @param report Told what a listener of the socket throws.
   */
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

  /**
   * Makes the socket and the response that opens it.
   *
   * @throws Mongrel2Error `invalid_option`, or `not_a_handshake` when this was done before or the handshake was answered.
   */
  upgrade(options: UpgradeWebSocketOptions): WebSocketUpgrade {
    if (this.#session !== undefined || !this.#pending) {
      throw new Mongrel2Error('not_a_handshake', 'expected a handshake that was neither upgraded nor answered before')
    }
    const settings = checkUpgradeOptions(options, this.#request.protocols, this.#settings)
    const terms = settings.deflate && acceptDeflate(this.#request.extensions, settings.deflate.contextTakeover)
    const extensions = terms === undefined ? '' : renderDeflate(terms)
    const socket = new ServerWebSocket(
      this.#url,
      settings.protocol ?? '',
      extensions,
      (events) => {
        const deflate = terms && new PerMessageDeflate(terms, settings.maxPayload)
        const { maxPayload, idleTimeout, maxBufferedBytes } = settings
        const threshold = settings.deflate?.threshold ?? 0
        const session = new Session(
          this.#connection,
          { maxPayload, idleTimeout, maxBufferedBytes, threshold },
          deflate,
          events,
        )
        this.#session = session
        return session
      },
      this.#report,
    )
    const response = this.#responseOf(settings, socket)
    this.#socket = socket
    this.#response = response
    return { socket, response }
  }

  /** What it was upgraded to. */
  get session(): Session | undefined {
    return this.#session
  }

  /** Whether a response is the one that accepts it, or was made of that. */
  accepts(response: Response): boolean {
    if (!this.#pending || this.#response === undefined || !isUpgradeResponse(this.#response)) return false
    // The platform's constructor refuses 101: what was made of that one says 200.
    return response === this.#response || isDerived(response, 200, 'sec-websocket-accept', this.#request.accept)
  }

  /** Answers with a response that accepts it, and opens the socket. */
  open(response: Response): void {
    const [session, socket] = [this.#session, this.#socket]
    if (session === undefined || socket === undefined) return
    this.#pending = false
    this.#connection.outbox.write(this.#head(response.headers, socket))
    this.#connection.frames = session
    session.open()
    if (this.#leaving) session.end()
    for (const message of this.#early.splice(0)) session.receive(message)
  }

  /**
   * It was answered with anything else: the socket fails.
   *
   * @param why What happened to the handshake.
   */
  reject(why: string): void {
    if (this.#end()) this.#session?.refused(new Error(`the WebSocket did not open: its handshake was ${why}`))
  }

  receive(message: Message): void {
    if (!this.#pending) return
    if (this.#early.length >= MOST_EARLY_FRAMES || this.#earlyBytes >= MOST_EARLY_BYTES) {
      return this.#connection.close()
    }
    this.#early.push(message)
    this.#earlyBytes += message.body.length
  }

  publishing(): void {}

  lost(): void {
    if (this.#end()) this.#session?.lost()
  }

  /** Nobody waits for it: the handler decides when it answers. */
  async goAway(): Promise<void> {
    this.#leaving = true
  }

  end(): void {
    this.#leaving = true
  }

  /** Returns whether it could still be accepted. */
  #end(): boolean {
    const pending = this.#pending
    this.#pending = false
    this.#early.length = 0
    return pending
  }

  #responseOf({ headers, allows }: UpgradeSettings, { protocol, extensions }: ServerWebSocket): Response {
    if (!allows(this.#request.origin)) return responseOf(forbiddenOrigin())
    headers.set('upgrade', 'websocket')
    headers.set('connection', 'Upgrade')
    headers.set('sec-websocket-accept', this.#request.accept)
    if (protocol !== '') headers.set('sec-websocket-protocol', protocol)
    if (extensions !== '') headers.set('sec-websocket-extensions', extensions)
    return createUpgradeResponse(headers)
  }

  /** What the handshake says itself is not what middleware may have made of it. */
  #head(headers: Headers, { protocol, extensions }: ServerWebSocket): Buffer {
    const others = [...headers].filter(([name]) => !isReserved(name) && !/^(?:sec-websocket-|content-)/.test(name))
    return renderHead(101, 'Switching Protocols', [
      ['upgrade', 'websocket'],
      ['connection', 'Upgrade'],
      ['sec-websocket-accept', this.#request.accept],
      ...(protocol === '' ? [] : [['sec-websocket-protocol', protocol] as const]),
      ...(extensions === '' ? [] : [['sec-websocket-extensions', extensions] as const]),
      ...others,
    ])
  }
}
