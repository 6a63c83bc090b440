import type { Observer, Socket } from 'zeromq'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { TIME_TO_LIVE } from '../zmtp/connection.ts'

/**
 * Options of both halves of a link. `reconnectInterval: -1` is what a link rests on: a socket speaks to one life of
 * a Mongrel2 and never to the next, so nothing queued for connections of the old one can reach the new one's, whose
 * numbers begin again at 1.
 */
const OPTIONS = {
  reconnectInterval: -1,
  linger: 0,
  handshakeInterval: 5000,
  // Finds a peer whose machine or network went away without a word.
  heartbeatInterval: 10_000,
  heartbeatTimeout: 30_000,
  // Has Mongrel2 find the same of us, and deal to others.
  heartbeatTimeToLive: TIME_TO_LIVE,
} as const

/** The options for a socket that connects to a spec. */
export function socketOptions(spec: string): typeof OPTIONS & { ipv6: boolean } {
  return { ...OPTIONS, ipv6: spec.startsWith('tcp://[') }
}

/** `ZMQ_ROUTING_ID`: zeromq.js offers it for other socket types only. */
export const ZMQ_ROUTING_ID = 5

/** The life of a socket's one connection. */
export interface SocketConnection {
  /** Settles when the ZMTP handshake is done; rejects when it never will be. */
  readonly opened: Deferred<void>
  /** Resolves when the connection is gone or the socket closed. */
  readonly closed: Promise<void>
}

/** Follows the connection of a socket that connects once, by libzmq's monitor (`zmq_socket_monitor`). */
export function watchConnection(events: Observer): SocketConnection {
  const opened = deferred()
  const closed = (async () => {
    for await (const event of events) {
      if (event.type === 'handshake') opened.resolve()
      if (event.type === 'disconnect' || event.type === 'close' || event.type === 'end') break
    }
  })()
    .catch(() => {}) // the observer fails only because its socket was closed
    .then(() => opened.reject(new Mongrel2Error('closed', 'the connection ended')))
  return { opened, closed }
}

/** How often a monitor is asked for at most, a millisecond apart: libzmq frees a name within a few. */
const TRIES = 1000

/**
 * What libzmq tells of a socket (`zmq_socket_monitor`).
 *
 * zeromq.js names a monitor after the address of an object in memory, and libzmq frees the name in a thread of its own some time after the
 * socket was closed: in between, an object in the same place is refused with `EADDRINUSE`. Then this waits.
 *
 * @throws Error of zeromq.js when the socket is closed, or no monitor can be had.
 */
export function socketEvents(socket: Socket): Observer {
  for (let tries = 1; ; tries++) {
    try {
      return socket.events
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || tries === TRIES) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    }
  }
}
