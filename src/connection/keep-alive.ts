import type { ReadonlyNumberMap } from '../runtime/number-map.ts'
import { type Control, type Reply, renderControl } from '../wire/reply.ts'
import type { Connection } from './connection.ts'

/** How often to ask for connections that may be gone, in milliseconds. */
export const SWEEP_INTERVAL = 1000

/** A connection of which no notice may come, and when to ask Mongrel2 for it, in milliseconds of `performance.now()`. */
interface Absence {
  readonly connection: Connection
  readonly since: number
  askAt: number
  /** Whether we have closed it, but bytes of it may still wait in Mongrel2, which delivers them. Otherwise another process answers. */
  readonly closed: boolean
}

/** Keeps Mongrel2 from ending quiet connections, and finds those that it has ended: a reply to one, which grants 0 credits, brings a notice. */
export class KeepAlive {
  readonly #connections: ReadonlyNumberMap<Connection>
  readonly #publish: (replies: Reply[]) => void
  readonly #targets: number
  readonly #interval: number
  readonly #absences = new Map<number, Absence>()
  #keeper: NodeJS.Timeout | undefined

  /** @param interval Milliseconds between two keep-alive messages. */
  constructor(
    connections: ReadonlyNumberMap<Connection>,
    publish: (replies: Reply[]) => void,
    targets: number,
    interval: number,
  ) {
    this.#connections = connections
    this.#publish = publish
    this.#targets = targets
    this.#interval = interval
  }

  /** Whether it still asks for connections one by one. */
  get asking(): boolean {
    return this.#absences.size > 0
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
    this.#expectAbsence(connection, performance.now(), false)
  }

  /** Bytes of a closed connection count until a notice comes or the slowest client would have read them. */
  closed(connection: Connection, now: number): void {
    if (hasBytes(connection, now)) this.#expectAbsence(connection, now, true)
  }

  /** Handles a notice that a connection is gone. Returns whether it was a closed one. */
  gone(id: number): boolean {
    const absence = this.#absences.get(id)
    if (absence?.closed !== true) return false
    absence.connection.pacing.end?.()
    return this.#absences.delete(id)
  }

  /** Asks for deferred and closed connections when it is time; the intervals double. */
  ask(now: number): void {
    const due: Absence[] = []
    for (const absence of this.#absences.values()) {
      const { connection, since, closed } = absence
      if (!(closed ? hasBytes(connection, now) : connection.deferred)) this.#absences.delete(connection.id)
      else if (now >= absence.askAt) {
        absence.askAt = now + (now - since)
        due.push(absence)
      }
    }
    const dueOf = (state: boolean) => due.filter(({ closed }) => closed === state).map(({ connection }) => connection)
    this.#send(dueOf(false), dueOf(true))
  }

  /** Mongrel2 is gone. */
  lost(): void {
    this.stop()
    for (const id of [...this.#absences.keys()]) this.gone(id)
  }

  #expectAbsence(connection: Connection, now: number, closed: boolean): void {
    this.#absences.set(connection.id, { connection, since: now, askAt: now + SWEEP_INTERVAL, closed })
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
