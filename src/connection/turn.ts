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

/** Connections whose output is published together, and how long it may wait for others, in milliseconds. */
const MOST_TOGETHER = 24
const MOST_WAIT = 1

/** Those with output: one for each Mongrel2 at most. */
const open: Turn[] = []

/**
 * Publishes what has waited long enough. To be called between messages and between handlers: one read may bring many, and clients would get the
 * first answer only when the last handler has returned, while Mongrel2 has nothing to do.
 */
export function publishEarly(): void {
  for (const turn of open) turn.flushEarly()
}

/** Collects connections with output, and publishes all of it together, at the latest at the end of a turn of the event loop. */
export class Turn {
  readonly #owner: TurnOwner
  readonly #targets: number
  #touched: Connection[] = []
  /** When the first of them was touched. */
  #since = 0
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
    if (this.#touched.length === 0) {
      this.#since = performance.now()
      open.push(this)
    }
    this.#touched.push(connection)
    this.schedule()
  }

  /** Makes `flush` be called at the end of the turn. */
  schedule(): void {
    this.#immediate ??= setImmediate(() => this.flush())
  }

  flushEarly(): void {
    if (this.#touched.length >= MOST_TOGETHER || performance.now() - this.#since >= MOST_WAIT) this.flush()
  }

  flush(): void {
    this.cancel()
    const touched = this.#touched
    this.#touched = []
    const batch = new ReplyBatch(this.#targets)
    const now = performance.now()
    for (const connection of touched) this.#owner.taken(connection, connection.take(batch, now), now)
    this.#probe = undefined
    const replies = batch.finish()
    if (replies.length > 0) this.#owner.publisher.publish(replies)
    this.#owner.flushed(replies.length)
  }

  cancel(): void {
    if (open.includes(this)) open.splice(open.indexOf(this), 1)
    clearImmediate(this.#immediate)
    this.#immediate = undefined
  }
}
