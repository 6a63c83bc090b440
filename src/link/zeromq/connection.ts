import type { Observer, Socket } from 'zeromq'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { TIME_TO_LIVE } from '../zmtp/connection.ts'

/**
 * Options of both halves of a link. With `reconnectInterval: -1` a socket connects to one epoch of a Mongrel2 only: replies queued for
 * its connections cannot reach those of the next, whose ids begin again at 1.
 */
const OPTIONS = {
  reconnectInterval: -1,
  linger: 0,
  handshakeInterval: 5000,
  // Detects a peer whose machine or network has failed silently.
  heartbeatInterval: 10_000,
  heartbeatTimeout: 30_000,
  // Makes Mongrel2 detect the same of us.
  heartbeatTimeToLive: TIME_TO_LIVE,
} as const

/** The options for a socket that connects to a spec. */
export function socketOptions(spec: string): typeof OPTIONS & { ipv6: boolean } {
  return { ...OPTIONS, ipv6: spec.startsWith('tcp://[') }
}

const ZMQ_ROUTING_ID = 5

/** The state of a socket's one connection. */
export interface SocketConnection {
  /** Resolves when the ZMTP handshake is done; rejects when it fails. */
  readonly opened: Deferred<void>
  /** Resolves when the connection or the socket is closed. */
  readonly closed: Promise<void>
}

/** Connects a socket once, with an identity, and follows the connection by libzmq's monitor (`zmq_socket_monitor`). */
export function connectOnce(socket: Socket, spec: string, identity: string): SocketConnection {
  // biome-ignore lint/complexity/useLiteralKeys: the method is protected; zeromq.js has `routingId` for other types only
  socket['setStringOption'](ZMQ_ROUTING_ID, identity)
  const events = socketEvents(socket)
  socket.connect(spec)
  const opened = deferred()
  const closed = (async () => {
    for await (const event of events) {
      if (event.type === 'handshake') opened.resolve()
      if (event.type === 'disconnect' || event.type === 'close' || event.type === 'end') break
    }
  })()
    .catch(() => {}) // the observer fails only when its socket is closed
    .then(() => opened.reject(new Mongrel2Error('closed', 'the connection ended')))
  return { opened, closed }
}

/** Attempts to create a monitor, a millisecond apart: libzmq frees a name within a few. */
const TRIES = 1000

/**
 * The events of a socket (`zmq_socket_monitor`). zeromq.js names a monitor after an address in memory, and a thread of libzmq frees the
 * name some time after the socket was closed: until then a new object at that address gets `EADDRINUSE`, and this waits.
 *
 * @throws Error of zeromq.js when the socket is closed, or no monitor can be created.
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
