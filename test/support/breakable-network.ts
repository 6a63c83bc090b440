import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** What is between a client and a server on this machine, and can fail. */
export class BreakableNetwork implements AsyncDisposable {
  /** Where the client connects instead. */
  readonly port: number
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #broken = false

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = port
  }

  /** @param to The port of the server. */
  static async to(to: number): Promise<BreakableNetwork> {
    const server = createServer({ pauseOnConnect: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('expected a port')
    const network = new BreakableNetwork(server, address.port)
    server.on('connection', (client) => network.#join(client, to))
    return network
  }

  /** Ends all connections, and each that is tried until `mend`. */
  break(): void {
    this.#broken = true
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
  }

  mend(): void {
    this.#broken = false
  }

  /** Takes no more connections; those that there are go on. */
  refuse(): void {
    this.#server.close()
  }

  /** Takes connections again. */
  async accept(): Promise<void> {
    this.#server.listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** Lets nothing more through on the connections that there are, in either direction, and tells neither side. */
  silence(): void {
    for (const pair of this.#pairs) {
      for (const socket of pair) {
        socket.unpipe()
        socket.pause()
      }
    }
  }

  /** Lets what was silenced go on, with all that came meanwhile. */
  resume(): void {
    for (const [client, server] of this.#pairs) {
      client.pipe(server)
      server.pipe(client)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.break()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(client: Socket, to: number): void {
    if (this.#broken) {
      client.destroy()
      return
    }
    const pair = [client, connect(to, '127.0.0.1')] as const
    const [, server] = pair
    this.#pairs.add(pair)
    for (const [socket, other] of [pair, [server, client] as const]) {
      socket.pipe(other)
      // The end of the one is the end of the other.
      socket.on('error', () => {})
      socket.on('close', () => {
        other.destroy()
        this.#pairs.delete(pair)
      })
    }
  }
}
