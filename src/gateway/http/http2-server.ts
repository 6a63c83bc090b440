import { createServer, type ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { Registry } from '../../runtime/registry.ts'
import type { GatewaySettings } from '../options.ts'
import type { Router } from '../router.ts'
import { Http2Client } from './http2-client.ts'

/** Requests of one client that are served at once; Node refuses more. */
const MAX_STREAMS = 100
/** Fields of a head, so that no more fit Node's bound of its size; `bufferSize` is checked later, and answered with 431. */
const MAX_FIELDS = 2048

/** HTTP/2 for connections that another server accepts. */
export class Http2Server {
  readonly #admit: (socket: Socket) => void
  readonly #clients = new Registry<Http2Client>()
  #stopping = false

  constructor(router: Router, settings: GatewaySettings) {
    const server = createServer({ settings: { maxConcurrentStreams: MAX_STREAMS }, maxHeaderListPairs: MAX_FIELDS })
    this.#admit = (socket) => {
      server.once('session', (session: ServerHttp2Session) => {
        const client = new Http2Client(session, socket, router, settings)
        socket.on('close', this.#clients.add(client))
        if (this.#stopping) client.stop()
      })
      server.emit('connection', socket)
    }
  }

  /** Serves a client that has chosen HTTP/2. */
  admit(socket: Socket): void {
    // Half a connection is of no use.
    socket.allowHalfOpen = false
    this.#admit(socket)
  }

  /** Accepts no more requests. */
  stop(): void {
    this.#stopping = true
    for (const client of this.#clients.values()) client.stop()
  }
}
