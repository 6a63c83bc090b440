import { once } from 'node:events'
import { unlink } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { Router, type RouterSettings } from './router.ts'

/** Where clients connect: a port, or a socket in the file system. */
export type ListenAt = { readonly port: number; readonly host: string | undefined } | { readonly path: string }

/** Clients on a socket, and the Handlers that they are for. */
export class Listener {
  readonly #server: Server
  readonly #router: Router
  #closed: Promise<unknown> | undefined

  private constructor(server: Server, router: Router) {
    this.#server = server
    this.#router = router
  }

  /**
   * Binds the sockets of the Handlers, then listens for clients.
   *
   * @throws The errors of Node and ZeroMQ when an address cannot be had, such as `EADDRINUSE`.
   */
  static async start(settings: RouterSettings, at: ListenAt): Promise<Listener> {
    const router = await Router.bind(settings)
    // A client that ends its side is gone for Mongrel2; the router ends the other.
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      router.admit(socket, { remoteAddress: addressOf(socket.remoteAddress), scheme: 'http' })
    })
    try {
      if ('path' in at) await removeLeftover(at.path)
      await once(server.listen(at), 'listening')
    } catch (error) {
      await router.close()
      throw error
    }
    return new Listener(server, router)
  }

  /** Where it listens; at a socket in the file system, nowhere. */
  get address(): AddressInfo | undefined {
    const address = this.#server.address()
    return typeof address === 'object' ? (address ?? undefined) : undefined
  }

  /** Takes no more clients. */
  stop(): void {
    this.#server.close()
  }

  /** Ends every connection at once, as Mongrel2 does when it is stopped, and closes all sockets; resolves when that is done. */
  async close(): Promise<void> {
    this.#closed ??= Promise.all([this.#end(), this.#router.close()])
    await this.#closed
  }

  async #end(): Promise<void> {
    await new Promise<void>((resolve) => {
      // Not open any more, it has been closed before.
      this.#server.close(() => resolve())
    })
  }
}

/** An IPv4 address as such where a socket for both shows it as one of IPv6; sockets in the file system have none. */
function addressOf(address = '127.0.0.1'): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '')
}

/** A program that was killed leaves its socket behind, and nobody else can listen there until it is gone. */
async function removeLeftover(path: string): Promise<void> {
  const code = await new Promise<string | undefined>((resolve) => {
    const socket = connect({ path }, () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code))
  })
  if (code === 'ECONNREFUSED') await unlink(path)
}
