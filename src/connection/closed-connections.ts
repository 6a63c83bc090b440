import { NumberMap } from '../runtime/number-map.ts'

/** Shortest time that a closed connection is remembered, in milliseconds, unless too many follow. */
const REMEMBERED = 60_000
/** Number of closed connections that are remembered at least. */
const MOST = 16_384

/** Connections that we have closed, each with a value: Mongrel2 may still send messages from them. Forgotten in two generations. */
export class ClosedConnections<By = undefined> {
  #recent = new NumberMap<By | undefined>()
  #older = new NumberMap<By | undefined>()
  #turned = 0

  /** @param now In milliseconds of `performance.now()`. */
  add(id: number, now: number, by?: By): void {
    if (this.#recent.size >= MOST || now - this.#turned > REMEMBERED) {
      this.#older = this.#recent
      this.#recent = new NumberMap()
      this.#turned = now
    }
    this.#recent.set(id, by)
  }

  has(id: number): boolean {
    return this.#recent.has(id) || this.#older.has(id)
  }

  get(id: number): By | undefined {
    return this.#recent.get(id) ?? this.#older.get(id)
  }
}

/** Upper bound of the connections that are remembered; those of an ended Mongrel2 are never removed otherwise. */
const MOST_LEFT = 65_536

/** Connections with open requests when their epoch ended. `deferred`: another process may still answer; otherwise nobody will. */
export type LeftConnections = Map<number, Readonly<{ sender: string; deferred: boolean }>>

/** Remembers a connection; forgets the oldest where there are too many. */
export function leave(connections: LeftConnections, id: number, sender: string, deferred: boolean): void {
  connections.set(id, { sender, deferred })
  if (connections.size <= MOST_LEFT) return
  const [first] = connections.keys()
  if (first !== undefined) connections.delete(first)
}
