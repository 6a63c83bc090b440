import type { Observer, Socket } from 'zeromq'

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
