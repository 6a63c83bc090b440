import type { Connection } from '../connection.ts'

/** When to ask first whether Mongrel2 still has a connection, in milliseconds after its close. */
const ASK_AFTER = 1000

/** A connection, and when to ask for it, in milliseconds of `performance.now()`. */
interface Draining {
  readonly connection: Connection
  readonly since: number
  askAt: number
}

/**
 * Connections that were closed while much of what was published for them seemed to wait in Mongrel2, which delivers it all the same. Their
 * bytes count until Mongrel2 says that the connection is gone, which it does only when asked, or until the slowest client has read them.
 */
export class DrainingConnections {
  readonly #connections = new Map<number, Draining>()

  get size(): number {
    return this.#connections.size
  }

  /** A connection was closed. */
  add(connection: Connection, now: number): void {
    if (!hasBytes(connection, now)) return
    this.#connections.set(connection.id, { connection, since: now, askAt: now + ASK_AFTER })
  }

  /** Those to ask for; each is asked for after twice as long as the last time. */
  due(now: number): Connection[] {
    const due: Connection[] = []
    for (const draining of this.#connections.values()) {
      const { connection, since, askAt } = draining
      if (!hasBytes(connection, now)) this.#connections.delete(connection.id)
      else if (now >= askAt) {
        due.push(connection)
        draining.askAt = now + (now - since)
      }
    }
    return due
  }

  /** Mongrel2 says that a connection is gone; returns whether it is one of these. */
  gone(id: number): boolean {
    this.#connections.get(id)?.connection.pacing.end?.()
    return this.#connections.delete(id)
  }

  /** That Mongrel2 is gone. */
  clear(): void {
    for (const id of [...this.#connections.keys()]) this.gone(id)
  }
}

function hasBytes({ pacing }: Connection, now: number): boolean {
  return (pacing.waitingInMongrel2?.(now) ?? 0) > 0
}
