/** How long a closed connection is remembered at least, in milliseconds, unless too many follow. */
const REMEMBERED = 60_000
/** How many are remembered at least. */
const MOST = 16_384

/**
 * Connections that we have closed, with what is remembered of each. Mongrel2 still parses what a client has sent behind a refused request, so
 * messages may come from them. They are forgotten in two generations.
 */
export class ClosedConnections<By = undefined> {
  #recent = new Map<number, By | undefined>()
  #older = new Map<number, By | undefined>()
  #turned = 0

  /** @param now In milliseconds of `performance.now()`. */
  add(id: number, now: number, by?: By): void {
    if (this.#recent.size >= MOST || now - this.#turned > REMEMBERED) {
      this.#older = this.#recent
      this.#recent = new Map()
      this.#turned = now
    }
    this.#recent.set(id, by)
  }

  has(id: number): boolean {
    return this.#recent.has(id) || this.#older.has(id)
  }

  /** What is remembered of one. */
  get(id: number): By | undefined {
    return this.#recent.get(id) ?? this.#older.get(id)
  }
}

/** Connections that are remembered at most; where they cannot be told apart from those of another epoch, they are never seen again. */
const MOST_LEFT = 65_536

/** Connections on which something was open when their epoch ended. If their Mongrel2 still runs, their clients still wait. */
export type LeftConnections = Map<
  number,
  { readonly sender: string /** Whether others may still answer. */; readonly deferred: boolean }
>

/** Remembers a connection; the one that was remembered first is forgotten where there are too many. */
export function leave(connections: LeftConnections, id: number, sender: string, deferred: boolean): void {
  connections.set(id, { sender, deferred })
  if (connections.size <= MOST_LEFT) return
  const [first] = connections.keys()
  if (first !== undefined) connections.delete(first)
}
