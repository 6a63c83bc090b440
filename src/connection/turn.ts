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

/** Answers that are published together, and how long the first of them may wait for others, in milliseconds. */
const MOST_TOGETHER = 16
const MOST_WAIT = 1

/**
 * Collects connections with output, and publishes all of it together at the end of a turn of the event loop. Answers may go out before: one read
 * may bring many requests, and clients would get the first answer only when the last handler has returned, while Mongrel2 has nothing to do.
 * Others wait for what can be joined with them: parts of a stream, messages for a socket, and answers that many get.
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
    const now = performance.now()
    if (this.#answered.length === 0) this.#answeredAt = now
    else if (this.#answered.length === MOST_TOGETHER || now - this.#answeredAt >= MOST_WAIT) {
      const earlier = this.#answered
      this.#answered = []
      this.#answeredAt = now
      this.#publish(earlier)
    }
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
