import type { Server } from 'node:net'
import type { Certificate } from './http/certificate.ts'

/** Takes requests in one protocol at one address, and passes them to a router. */
export interface ProtocolServer {
  /** It does not listen yet. */
  readonly server: Server
  /** Connections that are open. */
  readonly connections: number
  /** Requests that were refused because they break the protocol, since the start; HTTP answers those with 400 and does not count them. */
  readonly malformed: number
  /** Uses a certificate for new connections, where the protocol has TLS. */
  renew?(certificate: Certificate): void
  /** Accepts no more clients, and no more requests on open connections. */
  stop(): void
  /** Ends every connection at once; resolves when the address is free. */
  close(): Promise<void>
}

/** Accepts no more clients; resolves when the last one is gone. */
export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // Also called, with an error, when the server was closed before.
    server.close(() => resolve())
  })
}

/** Shows an IPv4-mapped IPv6 address as IPv4. Sockets in the file system have no address. */
export function clientAddress(address = '127.0.0.1'): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '')
}
