import { once } from 'node:events'
import { lstat, unlink } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Logger, ThrottledWarning } from '../runtime/log.ts'
import { HttpClient } from './http-client.ts'
import { Router, type RouterSettings } from './router.ts'

/** What holds for all clients that speak HTTP. Times are in milliseconds. */
export interface HttpSettings {
  /** Bytes that a request's head may have: `limits.buffer_size`. */
  readonly bufferSize: number
  /** Time in which a request's head must have come, from the connection's begin or the head's first byte. */
  readonly headersTimeout: number
  /** Time for which a connection is kept on which nothing is asked. */
  readonly keepAliveTimeout: number
  /** Time in which a client must take something of what waits for it. */
  readonly sendTimeout: number
  readonly maxConnections: number
  readonly logger: Logger
}

/** Where clients connect: a port, or a socket in the file system. */
export type ListenAt = { readonly port: number; readonly host: string | undefined } | { readonly path: string }

/** How often Node looks for heads that take too long, in milliseconds. */
const CHECK_INTERVAL = 5000

/** Answers to what Node's parser refuses; all else is 400. */
const STATUS_OF: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}

/** HTTP/1 on Node's own parser, for the Handlers of a router. */
export class HttpGateway {
  readonly #router: Router
  readonly #server: Server
  readonly #settings: HttpSettings
  readonly #clients = new Map<Duplex, HttpClient>()
  readonly #full: ThrottledWarning
  #stopping = false
  #closed: Promise<unknown> | undefined

  constructor(router: Router, settings: HttpSettings) {
    this.#router = router
    this.#settings = settings
    this.#full = new ThrottledWarning(settings.logger)
    this.#server = this.#createServer()
  }

  /**
   * Binds the sockets of the Handlers, then listens for clients.
   *
   * @throws The errors of Node and ZeroMQ when an address cannot be had, such as `EADDRINUSE`.
   */
  static async start(settings: HttpSettings & RouterSettings, at: ListenAt): Promise<HttpGateway> {
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

  /** Where it listens; at a socket in the file system, nowhere. */
  get address(): AddressInfo | undefined {
    const address = this.#server.address()
    return typeof address === 'object' ? (address ?? undefined) : undefined
  }

  /** Serves a client that has not connected to the server's address. */
  admit(stream: Duplex, scheme: 'http' | 'https'): void {
    this.#meet(stream as Socket, scheme)
    this.#server.emit('connection', stream)
  }

  /** Takes no more clients, and no more requests on their connections than those under way. */
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
      // Also called, with an error, where the server was closed before.
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
      // It would count the time for which the handler does not read a body; the router has a time for what its client takes.
      requestTimeout: 0,
      connectionsCheckingInterval: Math.min(CHECK_INTERVAL, headersTimeout),
      noDelay: true,
      // Node 20 does not know this: it has an upgrade of everything that asks for one.
      ...{ shouldUpgradeCallback: isHandshake },
      // Mongrel2 does not look at it; the handler does.
      requireHostHeader: false,
    })
    server.maxConnections = maxConnections
    // A head is bounded by its bytes. Beyond a number of fields Node would leave them out silently.
    server.maxHeadersCount = 0
    // Not documented, but as old as Node: a client that has ended its side still gets its answer.
    Object.assign(server, { httpAllowHalfOpen: true })
    server.prependListener('connection', (socket) => this.#meet(socket, 'http'))
    server.on('request', (request, response) => this.#clientOf(request).request(request, response, false))
    server.on('checkContinue', (request, response) => this.#clientOf(request).request(request, response, true))
    server.on('checkExpectation', (request, response) => this.#clientOf(request).refuseRequest(request, response, 417))
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    server.on('connect', (_request, socket) => this.#clients.get(socket)?.refuse(405))
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (error.code === 'ECONNRESET') socket.destroy()
      else this.#clients.get(socket)?.refuse(STATUS_OF[error.code ?? ''] ?? 400)
    })
    server.on('drop', () => {
      this.#full.say(
        () => `mongrel2-fetch front: refused a connection, since ${maxConnections} are open (maxConnections)`,
      )
    })
    server.setTimeout(sendTimeout, (socket) => this.#clients.get(socket)?.expire())
    return server
  }

  #meet(socket: Socket, scheme: 'http' | 'https'): void {
    if (this.#clients.has(socket)) return // known from before an upgrade that was not made
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

  /** Node's parser has let go of the connection. Answers to requests before this one go out first. */
  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const client = this.#clients.get(socket)
    client?.whenIdle(() => {
      if (head.length > 0) socket.unshift(head)
      if (isHandshake(request)) return client.handshake(request)
      // To something that we do not speak, such as h2c: the client goes on with HTTP/1.1 (RFC 9110, section 7.8).
      socket.unshift(renderWithoutUpgrade(request))
      this.#server.emit('connection', socket)
    })
  }
}

/** Whether a request for an upgrade is a WebSocket's handshake, as Mongrel2 sees it. */
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

/**
 * Removes the socket that a program left behind when it was killed: nobody else can listen there until it is gone.
 *
 * @throws Error where the path is something else, which is left alone.
 */
export async function removeLeftoverSocket(path: string): Promise<void> {
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
