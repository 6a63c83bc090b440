import type { XPublisher } from 'zeromq'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { libzmq } from '../../runtime/process/libzmq.ts'
import { type Deferred, deferred, delay } from '../../runtime/promises.ts'
import { type Reply, renderReply } from '../../wire/reply.ts'
import type { LinkPublisher, Report } from '../transport.ts'
import { ZmtpConnection } from '../zmtp/connection.ts'
import { connectOnce, type SocketConnection, socketOptions } from './connection.ts'

/** Sends that may wait in libzmq, each with the replies of one turn; more wait in the publisher, which counts them. */
const SEND_HIGH_WATER_MARK = 256
/** Milliseconds between attempts to send when libzmq is full: XPUB has no event for it. */
const RETRY_TIME = 1
/** `full` from this many bytes on that wait in the publisher. */
const FULL_AT = 4 * 1024 * 1024
/** The second connection, used only for signs of life: it publishes nothing and ignores subscriptions. */
const WITNESS = { socketType: 'PUB', peers: ['SUB', 'XSUB'], receive: () => {}, bounds: { maxFrame: 4096 } }
/** First byte of the message that XPUB receives for a new subscription; 0 cancels one. */
const SUBSCRIBE = 1

/**
 * The publishing half of a link on libzmq. PUB silently drops what is sent before Mongrel2's subscription or into a full queue; XPUB
 * reports the subscription as a message, and with `noDrop` a full queue as an error.
 */
export class ZeromqPublisher implements LinkPublisher {
  /** libzmq does not report it. */
  readonly handedOver = false
  readonly opened: Promise<string>
  readonly closed: Promise<void>
  readonly #socket: XPublisher
  readonly #connection: SocketConnection
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #sending = false
  #room: Deferred<void> | undefined
  #open = true
  readonly #spec: string
  readonly #report: Report
  #witness: ZmtpConnection | undefined

  constructor(spec: string, identity: string, report: Report) {
    this.#spec = spec
    this.#report = report
    const options = { ...socketOptions(spec), noDrop: true, sendHighWaterMark: SEND_HIGH_WATER_MARK }
    this.#socket = new (libzmq().XPublisher)(options)
    this.#connection = connectOnce(this.#socket, spec, identity)
    this.closed = this.#connection.closed.then(() => this.close())
    const subscribed = deferred<string>()
    this.opened = subscribed.promise
    this.#connection.closed.then(() => this.#connection.opened.promise).catch(subscribed.reject)
    this.#readSubscriptions(subscribed).catch(subscribed.reject)
  }

  get connected(): Promise<void> {
    return this.#connection.opened.promise
  }

  get full(): boolean {
    return this.#waitingBytes > FULL_AT
  }

  async drained(): Promise<void> {
    if (!this.#sending) return
    this.#room ??= deferred()
    await this.#room.promise
  }

  /** Publishes replies in one multipart send with those that wait: Mongrel2 reads each part as a reply. */
  publish(replies: Reply[]): void {
    if (!this.#open) return
    for (const reply of replies) {
      const rendered = renderReply(reply)
      this.#waiting.push(rendered)
      this.#waitingBytes += rendered.length
    }
    if (!this.#sending) this.#send().catch((error: unknown) => this.#fail(error))
  }

  /** libzmq does not report signs of life: a second connection is asked. It is kept open, since a new one may be refused. */
  async answer(): Promise<void> {
    await this.connected
    if (this.#open) await (this.#witness ?? this.#connectWitness()).answer()
    else throw new Mongrel2Error('closed', 'the connection ended')
  }

  close(linger = 0): void {
    if (!this.#open) return
    this.#open = false
    this.#witness?.destroy()
    this.#socket.linger = linger
    this.#socket.close()
    this.#waiting = []
    this.#waitingBytes = 0
    this.#room?.resolve()
  }

  #connectWitness(): ZmtpConnection {
    const witness = new ZmtpConnection(this.#spec, '', WITNESS, () => {})
    this.#witness = witness
    void witness.closed.then(() => {
      if (this.#witness === witness) this.#witness = undefined
    })
    return witness
  }

  #fail(error: unknown): void {
    if (this.#open) this.#report(error)
    this.close()
  }

  /** zeromq.js accepts one send at a time: replies published meanwhile go with the next. */
  async #send(): Promise<void> {
    this.#sending = true
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      this.#waitingBytes = 0
      while (!(await this.#taken(batch))) await delay(RETRY_TIME)
    }
    this.#sending = false
    this.#room?.resolve()
    this.#room = undefined
  }

  /** Sends; returns whether libzmq had room. With `noDrop` XPUB takes all parts of a message or none. */
  async #taken(batch: Buffer[]): Promise<boolean> {
    try {
      await this.#socket.send(batch)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || this.#socket.closed) throw error
      return false
    }
  }

  async #readSubscriptions(subscribed: Deferred<string>): Promise<void> {
    for (;;) {
      const [message] = await this.#socket.receive()
      if (message?.[0] === SUBSCRIBE) subscribed.resolve(message.toString('latin1', 1))
    }
  }
}
