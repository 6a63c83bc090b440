import { ClosedConnections } from '../exchange/closed-connections.ts'
import type { DealtConnection } from './dealt-connection.ts'

/** One life of a Mongrel2, as the dispatcher deals its messages. */
export class DealtEpoch {
  /** The link's number, in the order of the endpoints. */
  readonly link: number
  /** Unique among all lives of all links. */
  readonly number: number
  readonly connections = new Map<number, DealtConnection>()
  /** Connections without a slot that wait for one. */
  readonly waiting = new Set<DealtConnection>()
  readonly closed = new ClosedConnections()

  constructor(link: number, number: number) {
    this.link = link
    this.number = number
  }
}
