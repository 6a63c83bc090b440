import { createServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createSecureServer, Server as SecureServer, type ServerOptions } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import * as outcomes from '../../platform/outcomes.ts'
import { Registry } from '../../runtime/registry.ts'
import type { GatewaySettings } from '../options.ts'
import { closeServer, type ProtocolServer } from '../protocol-server.ts'
import type { Router } from '../router.ts'
import type { Certificate } from './certificate.ts'
import { HttpClient } from './http-client.ts'
import { Http2Server } from './http2-server.ts'

/** Milliseconds between Node's searches for request heads that take too long. */
const CHECK_INTERVAL = 5000

/** Answers by the parser's error codes; others are 400. */
const OUTCOMES: Readonly<Record<string, outcomes.Outcome>> = {
  HPE_HEADER_OVERFLOW: outcomes.headTooLarge(),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: outcomes.chunkTooLarge(),
  ERR_HTTP_REQUEST_TIMEOUT: outcomes.headTimedOut(),
}

/** HTTP/1 on Node's own parser; with a certificate by TLS, where clients may choose HTTP/2. */
export class HttpServer implements ProtocolServer {
  readonly server: Server | SecureServer
  readonly malformed = 0
  readonly #router: Router
  readonly #settings: GatewaySettings
  /** Every connection, TLS handshakes included. */
  readonly #sockets = new Registry<Duplex>()
  readonly #clients = new WeakMap<Duplex, HttpClient>()
  readonly #http2: Http2Server | undefined
  #stopping = false

  /** @param certificate Undefined for HTTP/1 without TLS. */
  constructor(router: Router, settings: GatewaySettings, certificate?: Certificate) {
    this.#router = router
    this.#settings = settings
    if (certificate !== undefined) this.#http2 = new Http2Server(router, settings)
    this.server = this.#createServer(certificate)
  }

  get connections(): number {
    return this.#sockets.size
  }

  /** Uses a certificate for new connections. */
  renew(certificate: Certificate): void {
    if (this.server instanceof SecureServer) this.server.setSecureContext(certificate)
  }

  /** Serves a client that is already connected by another way. */
  admit(stream: Duplex, scheme: 'http' | 'https'): void {
    this.#register(stream as Socket, scheme)
    this.server.emit('connection', stream)
  }

  /** Accepts no more clients, and no more requests on open connections. */
  stop(): void {
    this.#stopping = true
    this.server.close()
    this.#http2?.stop()
  }

  /** Ends every connection at once. */
  async close(): Promise<void> {
    const closed = closeServer(this.server)
    for (const socket of this.#sockets.values()) socket.destroy()
    await closed
  }

  #createServer(certificate: Certificate | undefined): Server | SecureServer {
    const { bufferSize, headersTimeout, keepAliveTimeout, sendTimeout } = this.#settings
    const options = {
      maxHeaderSize: bufferSize,
      headersTimeout,
      keepAliveTimeout,
      // It would include the time in which the handler does not read the body; `bodyTimeout` counts only the client's time.
      requestTimeout: 0,
      connectionsCheckingInterval: Math.min(CHECK_INTERVAL, headersTimeout),
      noDelay: true,
      // Node 20 lacks this option and emits `upgrade` for every request that asks for one.
      ...{ shouldUpgradeCallback: isHandshake },
      // The handler checks Host, as behind Mongrel2.
      requireHostHeader: false,
    }
    const server =
      certificate === undefined ? createServer(options) : this.#createSecureServer({ ...options, ...certificate })
    // `maxHeaderSize` bounds a head; a bound on the number would drop fields silently.
    server.maxHeadersCount = 0
    // Undocumented: a client that has ended its side still gets its answer.
    Object.assign(server, { httpAllowHalfOpen: true })
    server.prependListener('connection', (socket: Socket) => {
      socket.on('close', this.#sockets.add(socket))
      if (certificate === undefined) this.#register(socket, 'http')
    })
    server.on('request', (request, response) => this.#clientOf(request).request(request, response, false))
    server.on('checkContinue', (request, response) => this.#clientOf(request).request(request, response, true))
    server.on('checkExpectation', (request, response) =>
      this.#clientOf(request).refuseRequest(request, response, outcomes.unknownExpectation()),
    )
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    server.on('connect', (_request, socket) => this.#clients.get(socket)?.refuse(outcomes.noProxy()))
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      const client = this.#clients.get(socket)
      // Without a client its TLS handshake has failed.
      if (error.code === 'ECONNRESET' || client === undefined) socket.destroy()
      else client.refuse(OUTCOMES[error.code ?? ''] ?? outcomes.badRequest(error.message))
    })
    server.setTimeout(sendTimeout, (socket) => this.#clients.get(socket)?.expire())
    return server
  }

  /** Gives connections to HTTP/1 or HTTP/2, as their clients have chosen (ALPN). */
  #createSecureServer(options: ServerOptions): SecureServer {
    const server = createSecureServer({
      ...options,
      ALPNProtocols: ['h2', 'http/1.1', 'http/1.0'],
      allowHalfOpen: true,
      handshakeTimeout: this.#settings.headersTimeout,
    })
    const [serveHttp1] = server.listeners('secureConnection')
    server.removeAllListeners('secureConnection').on('secureConnection', (socket: TLSSocket) => {
      if (socket.alpnProtocol === 'h2') return this.#http2?.admit(socket)
      this.#register(socket, 'https')
      serveHttp1?.call(server, socket)
    })
    return server
  }

  #register(socket: Socket, scheme: 'http' | 'https'): void {
    if (this.#clients.has(socket)) return // after an upgrade that was not made
    const client = new HttpClient(socket, scheme, this.#router, () => this.#stopping)
    this.#clients.set(socket, client)
    socket.on('close', () => {
      this.#clients.delete(socket)
      client.leave()
    })
  }

  #clientOf({ socket }: IncomingMessage): HttpClient {
    return this.#clients.get(socket) as HttpClient
  }

  /** Node's parser has released the socket. Answers to earlier requests go out first. */
  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const client = this.#clients.get(socket)
    client?.whenIdle(() => {
      if (head.length > 0) socket.unshift(head)
      if (isHandshake(request)) return client.handshake(request)
      // An unsupported upgrade, such as to h2c: the client continues with HTTP/1.1 (RFC 9110, section 7.8).
      socket.unshift(renderWithoutUpgrade(request))
      this.server.emit(this.#http2 === undefined ? 'connection' : 'secureConnection', socket)
    })
  }
}

/** Whether an upgrade request is a WebSocket handshake, by Mongrel2's rules. */
function isHandshake({ headers }: IncomingMessage): boolean {
  const complete = headers['sec-websocket-key'] !== undefined && headers['sec-websocket-version'] !== undefined
  return complete && headers.upgrade?.toLowerCase() === 'websocket' && headers.host !== undefined
}

function renderWithoutUpgrade({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  let head = `${method} ${url} HTTP/${httpVersion}\r\n`
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() !== 'upgrade') head += `${rawHeaders[at]}: ${rawHeaders[at + 1]}\r\n`
  }
  return Buffer.from(`${head}\r\n`, 'latin1')
}
