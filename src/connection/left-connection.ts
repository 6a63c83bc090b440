/** Connections that are remembered at most; where they cannot be told apart from those of another life, they are never seen again. */
const MOST_LEFT = 65_536

/** A connection on which something was open when its epoch ended. If its Mongrel2 lives on, so does the connection, and its client waits. */
export interface LeftConnection {
  readonly sender: string
  /** Whether its answer is left to others, who may still give it. */
  readonly deferred: boolean
}

/** Such connections by their numbers. */
export type LeftConnections = Map<number, LeftConnection>

/** Remembers a connection; the one that was remembered first is forgotten where there are too many. */
export function leave(connections: LeftConnections, id: number, connection: LeftConnection): void {
  connections.set(id, connection)
  if (connections.size <= MOST_LEFT) return
  const [first] = connections.keys()
  if (first !== undefined) connections.delete(first)
}
