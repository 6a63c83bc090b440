import type { Pull } from 'zeromq'
import { libzmq } from '../../runtime/process/libzmq.ts'
import { delay, turnEnd } from '../../runtime/promises.ts'
import { CUT_MESSAGE } from '../../wire/message.ts'
import type { LinkSource, Receive, Report } from '../transport.ts'
import { connectOnce, type SocketConnection, socketOptions } from './connection.ts'

/** Milliseconds for libzmq to finish a disconnect, which it does not report; it takes a third of one. */
const DISCONNECT_TIME = 25

/** The pulling half of a link on libzmq. */
export class ZeromqSource implements LinkSource {
  readonly #spec: string
  readonly #socket: Pull
  readonly #connection: SocketConnection
  readonly #maxMessage: number
  #arrived = 0
  #stopped: Promise<void> | undefined
  #disconnected = false

  constructor(spec: string, identity: string, receive: Receive, report: Report, maxMessageSize: number) {
    this.#spec = spec
    this.#maxMessage = maxMessageSize + CUT_MESSAGE
    this.#socket = new (libzmq().Pull)(socketOptions(spec))
    this.#connection = connectOnce(this.#socket, spec, identity)
    this.#read(receive).catch((error: unknown) => {
      if (!this.#socket.closed) report(error)
      this.close()
    })
  }

  get opened(): Promise<void> {
    return this.#connection.opened.promise
  }

  get closed(): Promise<void> {
    return this.#connection.closed
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#drain()
    return this.#stopped
  }

  close(): void {
    this.#socket.close()
  }

  async #read(receive: Receive): Promise<void> {
    for (;;) {
      const message = await this.#next()
      this.#arrived++
      for (const part of message) {
        // libzmq cannot skip the rest of a long message; its `ZMQ_MAXMSGSIZE` would end the link.
        receive(part.length > this.#maxMessage ? Buffer.from(part.subarray(0, CUT_MESSAGE)) : part)
      }
    }
  }

  /** While stopping, a read fails when nothing is queued. Only then it disconnects, which drops queued messages. */
  async #next(): Promise<Buffer[]> {
    try {
      return await this.#socket.receive()
    } catch (error) {
      if (this.#stopped === undefined || (error as NodeJS.ErrnoException).code !== 'EAGAIN' || this.#socket.closed)
        throw error
      this.#disconnect()
      return await this.#socket.receive()
    }
  }

  async #drain(): Promise<void> {
    if (this.#socket.closed) return
    this.#socket.receiveTimeout = 0
    // The pending read began before this and never fails; if two turns bring nothing, nothing is queued.
    for (let before = -1; before !== this.#arrived && !this.#disconnected; ) {
      before = this.#arrived
      await turnEnd()
      await turnEnd()
    }
    this.#disconnect()
    await delay(DISCONNECT_TIME)
    this.close()
  }

  /** Reading continues: libzmq finishes a disconnect only while the socket is used. */
  #disconnect(): void {
    if (this.#disconnected || this.#socket.closed) return
    this.#disconnected = true
    try {
      this.#socket.disconnect(this.#spec)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error // Mongrel2 has disconnected already
    }
    this.#socket.receiveTimeout = -1
  }
}
