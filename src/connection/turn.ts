import type { Publisher } from '../link/transport.ts'
import { ReplyBatch } from '../wire/reply-batch.ts'
import { Probe } from '../wire/websocket/frames.ts'
import type { Connection } from './connection.ts'

/** What a turn needs of its epoch. */
export interface TurnOwner {
  readonly publisher: Publisher
  /** `bytes` were taken from a connection's outbox. */
  taken(connection: Connection, bytes: number, now: number): void
  /** Everything taken is published, in `replies` replies. */
  flushed(replies: number): void
}

/**
 * So many answers go out before the end of the turn if they came within so many milliseconds: one read may bring many requests, and Mongrel2 would
 * have nothing to do meanwhile. Where handlers take longer, more requests would be under way at once, and each collection of garbage would have
 * to keep what they are made of: with stored bodies of 100 KiB that took 1.4 times the CPU.
 */
const EARLY_ANSWERS = 16
const EARLY_WITHIN = 1

/**
 * Collects connections with output, and publishes all of it together at the end of a turn of the event loop, some answers earlier. Others wait for
 * what can be joined with them: parts of a stream, messages for a socket, and answers that many get.
 */
export class Turn {
  readonly #owner: TurnOwner
  readonly #targets: number
  #touched: Connection[] = []
  /** Those that have answered a request, which may be touched as well. */
  #answered: Connection[] = []
  /** When the first of them had, by `performance.now()`. */
  #answeredAt = 0
  #immediate: NodeJS.Immediate | undefined
  #probe: Probe | undefined
  #probes = 0

  /** @param targets Connections that a reply may name. */
  constructor(owner: TurnOwner, targets: number) {
    this.#owner = owner
    this.#targets = targets
  }

  /** The ping of this turn. */
  get probe(): Probe {
    this.#probe ??= new Probe(++this.#probes)
    return this.#probe
  }

  touch(connection: Connection): void {
    this.schedule()
    if (connection.touched === 'output') return void this.#touched.push(connection)
    if (this.#answered.length === EARLY_ANSWERS && performance.now() - this.#answeredAt < EARLY_WITHIN) {
      const earlier = this.#answered
      this.#answered = []
      this.#publish(earlier)
    }
    if (this.#answered.length === 0) this.#answeredAt = performance.now()
    this.#answered.push(connection)
  }

  /** Makes `flush` be called at the end of the turn. */
  schedule(): void {
    this.#immediate ??= setImmediate(() => this.flush())
  }

  flush(): void {
    this.cancel()
    const touched = [...this.#touched, ...this.#answered]
    this.#touched = []
    this.#answered = []
    this.#publish(touched)
    this.#probe = undefined
  }

  cancel(): void {
    clearImmediate(this.#immediate)
    this.#immediate = undefined
  }

  #publish(connections: readonly Connection[]): void {
    const batch = new ReplyBatch(this.#targets)
    const now = performance.now()
    for (const connection of connections)
      if (connection.touched !== undefined) this.#owner.taken(connection, connection.take(batch, now), now)
    const replies = batch.finish()
    if (replies.length > 0) this.#owner.publisher.publish(replies)
    this.#owner.flushed(replies.length)
  }
}
