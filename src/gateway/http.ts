import { once } from 'node:events'
import { lstat, unlink } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import * as outcomes from '../platform/outcomes.ts'
import { ThrottledWarning } from '../runtime/log.ts'
import { HttpClient } from './http-client.ts'
import type { GatewaySettings, RouterSettings } from './options.ts'
import { Router } from './router.ts'

/** Where clients connect: a port, or a socket in the file system. */
export type ListenAt = { readonly port: number; readonly host: string | undefined } | { readonly path: string }

/** Milliseconds between Node's searches for request heads that take too long. */
const CHECK_INTERVAL = 5000

/** Answers by the parser's error codes; others are 400. */
const OUTCOMES: Readonly<Record<string, outcomes.Outcome>> = {
  HPE_HEADER_OVERFLOW: outcomes.headTooLarge(),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: outcomes.chunkTooLarge(),
  ERR_HTTP_REQUEST_TIMEOUT: outcomes.headTimedOut(),
}

/** HTTP/1 on Node's own parser, for the Handlers of a router. */
export class HttpGateway {
  readonly #router: Router
  readonly #server: Server
  readonly #settings: GatewaySettings
  readonly #clients = new Map<Duplex, HttpClient>()
  readonly #full: ThrottledWarning
  #stopping = false
  #closed: Promise<unknown> | undefined

  constructor(router: Router, settings: GatewaySettings) {
    this.#router = router
    this.#settings = settings
    this.#full = new ThrottledWarning(settings.logger)
    this.#server = this.#createServer()
  }

  /** Binds the Handlers' sockets, then listens for clients; throws errors of Node and ZeroMQ, such as `EADDRINUSE`. */
  static async start(settings: RouterSettings, at: ListenAt): Promise<HttpGateway> {
    const gateway = new HttpGateway(await Router.bind(settings), settings)
    try {
      if ('path' in at) await removeLeftoverSocket(at.path)
      await once(gateway.#server.listen(at), 'listening')
    } catch (error) {
      await gateway.close()
      throw error
    }
    return gateway
  }

  /** The address; undefined for a socket in the file system. */
  get address(): AddressInfo | undefined {
    const address = this.#server.address()
    return typeof address === 'object' ? (address ?? undefined) : undefined
  }

  /** Serves a client that is already connected by another way. */
  admit(stream: Duplex, scheme: 'http' | 'https'): void {
    this.#register(stream as Socket, scheme)
    this.#server.emit('connection', stream)
  }

  /** Accepts no more clients, and no more requests on open connections. */
  stop(): void {
    this.#stopping = true
    this.#server.close()
  }

  /** Ends every connection at once, as Mongrel2 does when it is stopped, and closes all sockets; resolves when that is done. */
  async close(): Promise<void> {
    this.#closed ??= Promise.all([this.#end(), this.#router.close()])
    await this.#closed
  }

  async #end(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      // Also called, with an error, when the server was closed before.
      this.#server.close(() => resolve())
    })
    for (const socket of this.#clients.keys()) socket.destroy()
    await closed
  }

  #createServer(): Server {
    const { bufferSize, headersTimeout, keepAliveTimeout, sendTimeout, maxConnections } = this.#settings
    const server = createServer({
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
    })
    server.maxConnections = maxConnections
    // `maxHeaderSize` bounds a head; a bound on the number would drop fields silently.
    server.maxHeadersCount = 0
    // Undocumented: a client that has ended its side still gets its answer.
    Object.assign(server, { httpAllowHalfOpen: true })
    server.prependListener('connection', (socket) => this.#register(socket, 'http'))
    server.on('request', (request, response) => this.#clientOf(request).request(request, response, false))
    server.on('checkContinue', (request, response) => this.#clientOf(request).request(request, response, true))
    server.on('checkExpectation', (request, response) =>
      this.#clientOf(request).refuseRequest(request, response, outcomes.unknownExpectation()),
    )
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    server.on('connect', (_request, socket) => this.#clients.get(socket)?.refuse(outcomes.noProxy()))
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (error.code === 'ECONNRESET') socket.destroy()
      else this.#clients.get(socket)?.refuse(OUTCOMES[error.code ?? ''] ?? outcomes.badRequest(error.message))
    })
    server.on('drop', () => {
      this.#full.say(
        () => `mongrel2-fetch front: refused a connection, since ${maxConnections} are open (maxConnections)`,
      )
    })
    server.setTimeout(sendTimeout, (socket) => this.#clients.get(socket)?.expire())
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
      this.#server.emit('connection', socket)
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

/** Removes a socket file that a killed program left behind, since it blocks listening there. Throws Error for a file of another kind. */
async function removeLeftoverSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket())
    throw new Error(`expected a path that is free or a socket's, but ${path} is something else; choose another`)
  if (await refusesConnections(path)) await unlink(path)
}

function refusesConnections(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path }, () => {
      socket.destroy()
      resolve(false)
    })
    socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'))
  })
}
