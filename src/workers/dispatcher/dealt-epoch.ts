import { ClosedConnections, type LeftConnections } from '../../connection/closed-connections.ts'
import type { DealtConnection } from './dealt-connection.ts'
import type { Slot } from './slot.ts'

/** One life of a Mongrel2, as the dispatcher deals its messages. */
export class DealtEpoch {
  /** The link's number, in the order of the endpoints. */
  readonly link: number
  /** Unique among all lives of all links. */
  readonly number: number
  readonly connections = new Map<number, DealtConnection>()
  /** Connections without a slot that wait for one. */
  readonly waiting = new Set<DealtConnection>()
  /** By the slots that closed them. */
  readonly closed = new ClosedConnections<Slot>()
  /** What the epoch before has left open; since this one has ended, what it leaves itself. */
  readonly left: LeftConnections

  constructor(link: number, number: number, left: LeftConnections = new Map()) {
    this.link = link
    this.number = number
    this.left = left
  }
}
