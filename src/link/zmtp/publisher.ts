import { Mongrel2Error } from '../../runtime/errors.ts'
import { countGarbage } from '../../runtime/process/young-collection.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { envelopeOf, type Reply } from '../../wire/reply.ts'
import { type Command, subscriptionInMessage } from '../../wire/zmtp/command.ts'
import { renderMessages } from '../../wire/zmtp/frame.ts'
import type { LinkPublisher, Report } from '../transport.ts'
import { ZmtpConnection } from './connection.ts'

/** `full` from this many bytes on that the system has not taken. */
const FULL_AT = 4 * 1024 * 1024
/** Bytes that a subscription may have: Mongrel2's is its `recv_ident`. */
const MAX_SUBSCRIPTION = 4096

/** The publishing half of a link on plain ZMTP, a PUB. Replies that the system does not take wait here: none is dropped. */
export class ZmtpPublisher implements LinkPublisher {
  readonly opened: Promise<string>
  readonly closed: Promise<void>
  readonly #connection: ZmtpConnection
  readonly #subscriptions = new Subscriptions()
  readonly #subscribed: Deferred<string> = deferred()
  #room: Deferred<void> | undefined
  #open = true
  readonly #written = (): void => {
    if (this.#room === undefined || this.#connection.waitingBytes > 0) return
    this.#room.resolve()
    this.#room = undefined
  }

  constructor(spec: string, identity: string, report: Report) {
    const role = {
      socketType: 'PUB',
      peers: ['SUB', 'XSUB'],
      receive: (message: Buffer) => this.#subscribe(subscriptionInMessage(message)),
      bounds: { maxFrame: MAX_SUBSCRIPTION },
      command: (command: Command) => this.#subscribe(command),
    }
    this.#connection = new ZmtpConnection(spec, identity, role, report)
    this.opened = this.#subscribed.promise
    this.#connection.opened.promise.catch(this.#subscribed.reject)
    this.closed = this.#connection.closed.then(() => {
      this.#open = false
      this.#subscribed.reject(new Mongrel2Error('closed', 'the connection ended'))
      this.#room?.resolve()
    })
  }

  get connected(): Promise<void> {
    return this.#connection.opened.promise
  }

  get handedOver(): boolean {
    return this.#connection.waitingBytes === 0
  }

  get full(): boolean {
    return this.#connection.waitingBytes > FULL_AT
  }

  async drained(): Promise<void> {
    if (!this.#open || this.#connection.waitingBytes === 0) return
    this.#room ??= deferred()
    await this.#room.promise
  }

  publish(replies: Reply[]): void {
    if (!this.#open) return
    const pieces = renderMessages(this.#subscriptions.filter(replies))
    for (const { length } of pieces) countGarbage(length)
    this.#connection.write(pieces, this.#written)
  }

  async answer(): Promise<void> {
    await this.#connection.answer()
  }

  close(linger = 0): void {
    if (!this.#open) return
    this.#open = false
    if (linger > 0) this.#connection.end(linger)
    else this.#connection.destroy()
    this.#room?.resolve()
  }

  #subscribe(command: Command | undefined): void {
    if (command?.name !== 'SUBSCRIBE' && command?.name !== 'CANCEL') return
    this.#subscriptions.change(command)
    if (command.name === 'SUBSCRIBE') this.#subscribed.resolve(command.data.toString('latin1'))
  }
}

/** The subscriptions at a PUB. A prefix subscribed twice has to be cancelled twice (RFC 37). */
class Subscriptions {
  readonly #counts = new Map<string, number>()
  #prefixes: Buffer[] = []
  /** Whether every message is subscribed to, the usual case. */
  #all = false

  change({ name, data }: Command): void {
    const key = data.toString('latin1')
    const count = (this.#counts.get(key) ?? 0) + (name === 'SUBSCRIBE' ? 1 : -1)
    if (count > 0) this.#counts.set(key, count)
    else this.#counts.delete(key)
    this.#all = this.#counts.has('')
    this.#prefixes = [...this.#counts.keys()].map((text) => Buffer.from(text, 'latin1'))
  }

  /** The messages that are subscribed to, in order. */
  filter(messages: readonly Reply[]): readonly Reply[] {
    return this.#all ? messages : messages.filter((message) => this.#isSubscribed(message))
  }

  /** An envelope is longer than any prefix that Mongrel2 subscribes to. */
  #isSubscribed(reply: Reply): boolean {
    const start = Buffer.isBuffer(reply) ? reply : Buffer.from(envelopeOf(reply), 'latin1')
    return this.#prefixes.some((prefix) => prefix.equals(start.subarray(0, prefix.length)))
  }
}
