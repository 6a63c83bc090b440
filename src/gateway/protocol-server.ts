import type { Server } from 'node:net'

/** Takes requests in one protocol at one address, and passes them to a router. */
export interface ProtocolServer {
  /** It does not listen yet. */
  readonly server: Server
  /** Accepts no more clients, and no more requests on open connections. */
  stop(): void
  /** Ends every connection at once; resolves when the address is free. */
  close(): Promise<void>
}

/** Shows an IPv4-mapped IPv6 address as IPv4. Sockets in the file system have no address. */
export function clientAddress(address = '127.0.0.1'): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '')
}
