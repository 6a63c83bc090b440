import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type AdminHandler, type AdminServer, adminHandler } from '../../admin/admin.ts'
import type { Monitor } from '../../admin/monitor.ts'
import { addressText, listen } from '../../gateway/listen.ts'
import { closeServer } from '../../gateway/protocol-server.ts'
import { KIB } from '../../options/option.ts'
import { describeError, type Logger, messageOf } from '../../runtime/log.ts'
import type { AdminSettings } from '../options/settings.ts'
import { CommandError } from '../shared/exit-code.ts'

const MOST_CONNECTIONS = 100
/** Time for a request, in milliseconds. */
const REQUEST_TIMEOUT = 10_000
/** The permissions of a socket in the file system. */
const OWNER_ONLY = 0o600

/** Serves the admin address. */
export class AdminListener {
  /** Its URL or path. */
  readonly where: string
  readonly #server: Server
  readonly #settings: AdminSettings
  readonly #logger: Logger
  /** Until there is a server. */
  #handler: AdminHandler = async ({ url }) =>
    new URL(url).pathname === '/healthz'
      ? new Response('ok\n')
      : new Response('the app is being loaded\n', { status: 503, headers: { 'retry-after': '1' } })

  private constructor(server: Server, settings: AdminSettings, logger: Logger) {
    this.#server = server
    this.#settings = settings
    this.#logger = logger
    const text = addressText(server, settings.at)
    this.where = 'path' in settings.at ? text : `http://${text}/`
    server.on('request', (incoming, outgoing) => void this.#answer(incoming, outgoing))
  }

  /** Listens; throws CommandError `front` if it cannot. */
  static async start(settings: AdminSettings, logger: Logger): Promise<AdminListener> {
    const server = createServer({
      maxHeaderSize: 16 * KIB,
      requestTimeout: REQUEST_TIMEOUT,
      headersTimeout: REQUEST_TIMEOUT,
      connectionsCheckingInterval: REQUEST_TIMEOUT / 2,
    })
    server.maxConnections = MOST_CONNECTIONS
    try {
      await listen(server, settings.at, OWNER_ONLY)
    } catch (error) {
      throw new CommandError('front', `${settings.from} cannot listen: ${messageOf(error)}`)
    }
    return new AdminListener(server, settings, logger)
  }

  /** Shows a server from now on. */
  serve(server: AdminServer, monitor: Monitor): void {
    const { at, token } = this.#settings
    const ofPath = 'path' in at
    this.#handler = adminHandler(server, monitor, {
      token,
      trusted: ofPath,
      localHosts: !ofPath && token === undefined,
    })
  }

  /** Ends every connection. */
  async close(): Promise<void> {
    const closed = closeServer(this.#server)
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    try {
      const { status, headers, body } = await this.#handler(requestOf(incoming))
      outgoing.writeHead(status, Object.fromEntries(headers))
      if (body === null) outgoing.end()
      else await pipeline(Readable.fromWeb(body as never), outgoing)
    } catch (error) {
      if (error instanceof BadRequest) outgoing.writeHead(400).end()
      // The client has left.
      else if (outgoing.destroyed) return
      else {
        this.#logger.error?.(`mongrel2-fetch: the admin address could not answer: ${describeError(error)}`)
        if (outgoing.headersSent) outgoing.destroy()
        else outgoing.writeHead(500).end()
      }
    }
  }
}

class BadRequest extends Error {}

/** No route takes a body. */
function requestOf({ method = 'GET', url = '/', headers: { host }, rawHeaders }: IncomingMessage): Request {
  if (!url.startsWith('/')) throw new BadRequest()
  try {
    const headers = new Headers()
    for (let at = 0; at < rawHeaders.length; at += 2) headers.append(rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '')
    return new Request(`http://${host || 'localhost'}${url}`, { method, headers })
  } catch {
    throw new BadRequest()
  }
}
