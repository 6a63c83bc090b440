import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { type Role, ZmtpConnection } from '../../link/zmtp/connection.ts'
import { describeError, type Logger } from '../../runtime/log.ts'
import { TemporaryDirectory } from '../../runtime/temporary-directory.ts'

/** What a worker process is connected by. */
export interface WorkerSockets {
  /** Its frames, in their order. Must not throw. */
  receive(frame: Buffer): void
  /** Its DEALER is there: messages can be sent. */
  dealerOpened(connection: ZmtpConnection): void
  /** Its PUSH is there. */
  reportsOpened(connection: ZmtpConnection): void
}

/**
 * Where worker processes connect to: a ROUTER, which messages are dealt by, and a PULL for their reports, on ipc in a directory that
 * only this user can enter. Who connects is known by the identity that it was given at its start.
 */
export class ExchangePoint {
  readonly dealSpec: string
  readonly reportSpec: string
  readonly #directory = new TemporaryDirectory()
  readonly #servers: Server[] = []
  readonly #expected = new Map<string, WorkerSockets>()
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
    this.dealSpec = this.#listen('deal', 'ROUTER', 'DEALER', (sockets, connection) => sockets.dealerOpened(connection))
    this.reportSpec = this.#listen('report', 'PULL', 'PUSH', (sockets, connection) => sockets.reportsOpened(connection))
  }

  /** A worker process with this identity will connect. */
  expect(identity: string, sockets: WorkerSockets): void {
    this.#expected.set(identity, sockets)
  }

  forget(identity: string): void {
    this.#expected.delete(identity)
  }

  close(): void {
    for (const server of this.#servers) server.close()
    this.#directory.remove()
  }

  /** @returns Where workers connect to. */
  #listen(
    name: string,
    socketType: string,
    peer: string,
    opened: (sockets: WorkerSockets, connection: ZmtpConnection) => void,
  ): string {
    const path = join(this.#directory.path, name)
    const server = createServer((socket) => {
      const sockets = () => this.#expected.get(connection.peerIdentity)
      const role: Role = {
        socketType,
        peers: [peer],
        heartbeats: false,
        receive: (frame) => sockets()?.receive(frame),
      }
      const connection: ZmtpConnection = new ZmtpConnection(socket, '', role, (error) =>
        this.#logger.error?.(`mongrel2-fetch: a worker's connection failed: ${describeError(error)}`),
      )
      connection.opened.promise
        .then(() => {
          const known = sockets()
          if (known === undefined) connection.destroy()
          else opened(known, connection)
        })
        .catch(() => {}) // it was closed before it said who it is
    }).listen(path)
    this.#servers.push(server)
    return `ipc://${path}`
  }
}
