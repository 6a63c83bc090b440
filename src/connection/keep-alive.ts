import { type Control, type Reply, renderControl } from '../wire/reply.ts'
import type { Connection } from './connection.ts'

/** How often to ask for connections that may be gone, in milliseconds. */
export const SWEEP_INTERVAL = 1000

/** When to ask Mongrel2 next whether it still has a connection, in milliseconds of `performance.now()`. */
class Absence {
  readonly #since: number
  #askAt: number

  constructor(now: number) {
    this.#since = now
    this.#askAt = now + SWEEP_INTERVAL
  }

  /** Whether to ask now; the interval then doubles. */
  isDue(now: number): boolean {
    if (now < this.#askAt) return false
    this.#askAt = now + (now - this.#since)
    return true
  }
}

/**
 * Keeps Mongrel2 from ending quiet connections with an open request, and finds those that it has ended without a notice: a reply to a
 * connection that is gone brings one. The reply grants 0 credits, which has no other effect.
 */
export class KeepAlive {
  readonly #connections: ReadonlyMap<number, Connection>
  readonly #publish: (replies: Reply[]) => void
  readonly #targets: number
  readonly #interval: number
  /** Connections that another process answers and closes: no notice comes of that. */
  readonly #deferred = new Map<Connection, Absence>()
  /**
   * Closed connections with bytes that may still wait in Mongrel2, which delivers them. The bytes count until a notice comes or the slowest
   * client would have read them.
   */
  readonly #draining = new Map<number, { readonly connection: Connection; readonly absence: Absence }>()
  #keeper: NodeJS.Timeout | undefined

  /** @param interval Milliseconds between two keep-alive messages. */
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

  /** Whether it still asks for closed connections. */
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

  /** Asks for all connections now and every second. */
  hurry(): void {
    this.#keep()
    clearInterval(this.#keeper)
    this.#keeper = setInterval(() => this.#keep(), SWEEP_INTERVAL).unref()
  }

  /** Another process answers on a connection. */
  deferred(connection: Connection): void {
    this.#deferred.set(connection, new Absence(performance.now()))
  }

  closed(connection: Connection, now: number): void {
    if (!hasBytes(connection, now)) return
    this.#draining.set(connection.id, { connection, absence: new Absence(now) })
  }

  /** Handles a notice that a connection is gone. Returns whether it was a closed one. */
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
    this.#send(deferred, draining)
  }

  /** Mongrel2 is gone. */
  lost(): void {
    this.stop()
    for (const id of [...this.#draining.keys()]) this.gone(id)
  }

  /** Sends the keep-alive messages, but not for connections that wait for their own client. */
  #keep(): void {
    const now = performance.now()
    const open: Connection[] = []
    const unsettled: Connection[] = []
    for (const connection of this.#connections.values()) {
      if (connection.busy && !connection.awaitsClient) open.push(connection)
      else if (connection.busy || !connection.pacing.settled(now)) unsettled.push(connection)
    }
    this.#send(open, unsettled)
  }

  #send(alive: readonly Connection[], asked: readonly Connection[]): void {
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
