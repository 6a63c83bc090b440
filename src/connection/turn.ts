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

/** Collects connections with output, and publishes all of it together at the end of a turn of the event loop. */
export class Turn {
  readonly #owner: TurnOwner
  readonly #targets: number
  #touched: Connection[] = []
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
    this.#touched.push(connection)
    this.schedule()
  }

  /** Makes `flush` be called at the end of the turn. */
  schedule(): void {
    this.#immediate ??= setImmediate(() => this.flush())
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
    clearImmediate(this.#immediate)
    this.#immediate = undefined
  }
}
