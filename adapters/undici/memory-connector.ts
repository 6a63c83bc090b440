import type { Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import type { buildConnector } from 'undici'
import type { HttpServer } from '../../src/gateway/http/http-server.ts'

/** Connects undici, which speaks HTTP, to an HTTP server through memory. */
export function memoryConnector(server: Promise<Pick<HttpServer, 'admit'>>): buildConnector.connector {
  return ({ protocol }, callback) => {
    server.then(
      (found) => {
        const [ours, theirs] = duplexPair()
        // The server waits for this end to close when it ends, as a client's socket does.
        ours.allowHalfOpen = false
        // When one end of a pair is destroyed, the other stays open.
        theirs.on('close', () => ours.destroy())
        ours.on('close', () => theirs.destroy())
        found.admit(theirs, protocol === 'https:' ? 'https' : 'http')
        callback(null, asSocket(ours))
      },
      (error: Error) => callback(error, null),
    )
  }
}

/** undici needs only what every stream has, and uses the members of sockets where they exist. */
function asSocket(stream: object): Socket {
  return stream as Socket
}
