import { Pull } from 'zeromq'
import { delay } from '../../deferred.ts'
import { SOCKET_OPTIONS, type SocketConnection, watchConnection, ZMQ_ROUTING_ID } from './connection.ts'

/** How long libzmq may take to finish a disconnect, in milliseconds; then the socket is closed all the same. */
const DISCONNECT_TIMEOUT = 1000
/** How long an empty queue is waited upon before it is left, in milliseconds. */
const QUIET_TIME = 20

/** The pulling half of a link: one connection to a Handler's `send_spec`, in one life of that Mongrel2. */
export class ZeromqSource {
  readonly #spec: string
  readonly #socket: PullSocket
  readonly #connection: SocketConnection
  #arrived = 0
  #stopped: Promise<void> | undefined

  /**
   * @param spec The Handler's `send_spec`.
   * @param identity The socket's identity.
   * @param receive Called for each message in the order of arrival; must not throw.
   */
  constructor(spec: string, identity: string, receive: (message: Buffer) => void) {
    this.#spec = spec
    this.#socket = new PullSocket(identity)
    this.#connection = watchConnection(this.#socket.events)
    this.#socket.connect(spec)
    this.#read(receive).catch(() => this.#socket.close()) // a read fails when the socket is closed, by us or by libzmq
  }

  /** Resolves when messages can come; rejects when they never will. */
  get opened(): Promise<void> {
    return this.#connection.opened.promise
  }

  /** Resolves when the connection is gone, by either side's will. */
  get closed(): Promise<void> {
    return this.#connection.closed
  }

  /** Hands over what has arrived to the last message, then disconnects: Mongrel2 deals what comes later to others. */
  stop(): Promise<void> {
    this.#stopped ??= this.#drain()
    return this.#stopped
  }

  /** Closes at once; what has not been handed over is lost. */
  close(): void {
    this.#socket.close()
  }

  async #read(receive: (message: Buffer) => void): Promise<void> {
    for (;;) {
      for (const part of await this.#socket.receive()) {
        this.#arrived++
        receive(part)
      }
    }
  }

  async #drain(): Promise<void> {
    // A disconnect throws away what libzmq has queued, so it has to come right after the queue was seen empty.
    for (let before = -1; before !== this.#arrived; ) {
      before = this.#arrived
      await delay(QUIET_TIME)
    }
    if (!this.#socket.closed) {
      this.#socket.disconnect(this.#spec)
      // Reading goes on meanwhile: libzmq finishes a disconnect only while the socket is used.
      await Promise.race([this.closed, delay(DISCONNECT_TIMEOUT)])
    }
    this.close()
  }
}

class PullSocket extends Pull {
  constructor(identity: string) {
    super(SOCKET_OPTIONS)
    this.setStringOption(ZMQ_ROUTING_ID, identity)
  }
}
