import { type Control, type Reply, renderControl } from '../wire/reply.ts'
import type { Connection } from './connection.ts'

/** How often connections are asked for and forgotten, in milliseconds. */
export const SWEEP_INTERVAL = 1000

/** When Mongrel2 is asked next whether it still has a connection, in milliseconds of `performance.now()`. */
class Absence {
  readonly #since: number
  #askAt: number

  constructor(now: number) {
    this.#since = now
    this.#askAt = now + SWEEP_INTERVAL
  }

  /** Whether to ask now; the next time is after twice as long. */
  isDue(now: number): boolean {
    if (now < this.#askAt) return false
    this.#askAt = now + (now - this.#since)
    return true
  }
}

/**
 * Keeps Mongrel2 from ending connections on which nothing happens though a request is open, and finds those that it has ended without a word: a
 * reply to a connection that is gone brings a notice. The offer of no credits changes nothing else.
 */
export class KeepAlive {
  readonly #connections: ReadonlyMap<number, Connection>
  readonly #publish: (replies: Reply[]) => void
  readonly #targets: number
  readonly #interval: number
  /** Connections whose answers are left to others, who end them without a word to us. */
  readonly #deferred = new Map<Connection, Absence>()
  /**
   * Connections that were closed while much of what was published for them seemed to wait in Mongrel2, which still delivers it. Their bytes count
   * until Mongrel2 says that they are gone, or the slowest client has read them.
   */
  readonly #draining = new Map<number, { readonly connection: Connection; readonly absence: Absence }>()
  #keeper: NodeJS.Timeout | undefined

  /** @param interval Milliseconds between two signs of life. */
  constructor(
    connections: ReadonlyMap<number, Connection>,
    publish: (replies: Reply[]) => void,
    targets: number,
    interval: number,
  ) {
    this.#connections = connections
    this.#publish = publish
    this.#targets = targets
    this.#interval = interval
  }

  /** Whether closed connections are still asked for. */
  get draining(): boolean {
    return this.#draining.size > 0
  }

  start(): void {
    this.#keeper ??= setInterval(() => this.#keep(), this.#interval).unref()
  }

  stop(): void {
    clearInterval(this.#keeper)
    this.#keeper = undefined
  }

  /** Asks for all connections now, and every second from now on. */
  hurry(): void {
    this.#keep()
    clearInterval(this.#keeper)
    this.#keeper = setInterval(() => this.#keep(), SWEEP_INTERVAL).unref()
  }

  /** The answer of a connection is left to others. */
  deferred(connection: Connection): void {
    this.#deferred.set(connection, new Absence(performance.now()))
  }

  /** A connection was closed by us. */
  closed(connection: Connection, now: number): void {
    if (!hasBytes(connection, now)) return
    this.#draining.set(connection.id, { connection, absence: new Absence(now) })
  }

  /** Mongrel2 says that a connection is gone; returns whether that was a closed one that is asked for. */
  gone(id: number): boolean {
    this.#draining.get(id)?.connection.pacing.end?.()
    return this.#draining.delete(id)
  }

  /** Asks for deferred and closed connections when it is time. */
  ask(now: number): void {
    const deferred: Connection[] = []
    for (const [connection, absence] of this.#deferred) {
      if (!connection.deferred) this.#deferred.delete(connection)
      else if (absence.isDue(now)) deferred.push(connection)
    }
    const draining: Connection[] = []
    for (const { connection, absence } of this.#draining.values()) {
      if (!hasBytes(connection, now)) this.#draining.delete(connection.id)
      else if (absence.isDue(now)) draining.push(connection)
    }
    this.#tell(deferred, draining)
  }

  /** That Mongrel2 is gone. */
  lost(): void {
    this.stop()
    for (const id of [...this.#draining.keys()]) this.gone(id)
  }

  /** A connection that waits for its own client is not kept alive. */
  #keep(): void {
    const now = performance.now()
    const open: Connection[] = []
    const unsettled: Connection[] = []
    for (const connection of this.#connections.values()) {
      if (connection.busy && !connection.awaitsClient) open.push(connection)
      else if (connection.busy || !connection.pacing.settled(now)) unsettled.push(connection)
    }
    this.#tell(open, unsettled)
  }

  #tell(alive: readonly Connection[], asked: readonly Connection[]): void {
    this.#publish([...this.#controls(alive, { 'keep-alive': true }), ...this.#controls(asked, { credits: 0 })])
  }

  #controls(connections: readonly Connection[], control: Control): Reply[] {
    const bySender = new Map<string, number[]>()
    for (const { sender, id } of connections) {
      const ids = bySender.get(sender)
      if (ids === undefined) bySender.set(sender, [id])
      else ids.push(id)
    }
    const replies: Reply[] = []
    for (const [sender, ids] of bySender) {
      for (let at = 0; at < ids.length; at += this.#targets) {
        replies.push(renderControl(sender, ids.slice(at, at + this.#targets), control))
      }
    }
    return replies
  }
}

function hasBytes({ pacing }: Connection, now: number): boolean {
  return (pacing.waitingInMongrel2?.(now) ?? 0) > 0
}
