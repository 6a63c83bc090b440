import type { Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import type { buildConnector } from 'undici'
import type { Router } from '../../src/front/router.ts'

/** Connects undici to a router through memory: undici writes and reads HTTP as to any server, the router is at the other end. */
export function memoryConnector(router: Promise<Router>): buildConnector.connector {
  return ({ protocol }, callback) => {
    router.then(
      (found) => {
        const [ours, theirs] = duplexPair()
        // A pair ends together but does not break together.
        theirs.on('close', () => ours.destroy())
        ours.on('close', () => theirs.destroy())
        found.admit(theirs, { remoteAddress: '127.0.0.1', scheme: protocol === 'https:' ? 'https' : 'http' })
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
