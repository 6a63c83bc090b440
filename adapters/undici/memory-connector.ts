import type { Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import type { buildConnector } from 'undici'
import type { HttpGateway } from '../../src/gateway/http.ts'

/** Connects undici to a gateway through memory: undici writes and reads HTTP as to any server. */
export function memoryConnector(gateway: Promise<Pick<HttpGateway, 'admit'>>): buildConnector.connector {
  return ({ protocol }, callback) => {
    gateway.then(
      (found) => {
        const [ours, theirs] = duplexPair()
        // As a client's socket ends when the server does: the gateway waits for that.
        ours.allowHalfOpen = false
        // A pair ends together but does not break together.
        theirs.on('close', () => ours.destroy())
        ours.on('close', () => theirs.destroy())
        found.admit(theirs, protocol === 'https:' ? 'https' : 'http')
        callback(null, asSocket(ours))
      },
      (error: Error) => callback(error, null),
    )
  }
}

/** undici uses of a socket what every stream has, and what only sockets have where it is there: a proxy's tunnel is such a stream too. */
function asSocket(stream: object): Socket {
  return stream as Socket
}
