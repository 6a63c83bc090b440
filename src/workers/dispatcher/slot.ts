import { noPacings, type PacingCounts } from '../../connection/pacing/pacing.ts'
import type { DealtConnection } from './dealt-connection.ts'
import type { DealtEpoch } from './dealt-epoch.ts'

/** How long a connection that was closed is remembered at least, in milliseconds: until then the close has reached Mongrel2. */
const REMEMBERED = 1000

/** A place where handlers run, as the dispatcher sees it: a thread of a worker process, or all of one. */
export class Slot {
  /** Its number within its process. */
  readonly index: number
  readonly seesUploads: boolean
  /** The epochs that it can answer to. */
  readonly attached = new Set<DealtEpoch>()
  /** Connections that wait for a place here, and cannot go elsewhere. */
  readonly waiting = new Set<DealtConnection>()
  /** Whether it is to be left: it keeps what it has, and gets new connections only where there is no other. */
  retiring = false
  /** Connections that are its own. */
  connections = 0
  /** Requests that began something, since the beginning. */
  requests = 0
  /** Messages that were dealt to it. */
  dealt = 0
  /** How its connections are paced, as it said last. */
  pacing: PacingCounts = noPacings()
  /** Connections that it has closed not long ago, and before them. */
  #closed: DealtConnection[] = []
  #closedBefore: DealtConnection[] = []
  #turned = 0
  /** Handlers that had not returned when it last said so. */
  #reported = 0
  /** Requests that it had not seen then, by the number of their message. */
  #unseen: number[] = []

  /** @param seesUploads Whether it can read the files that Mongrel2 stores uploads in. */
  constructor(index: number, seesUploads = true) {
    this.index = index
    this.seesUploads = seesUploads
  }

  /** Requests that it works on, or will have to. */
  get inFlight(): number {
    return this.#reported + this.#unseen.length
  }

  /** The connections whose close may be lost with it. */
  get recentlyClosed(): readonly DealtConnection[] {
    return [...this.#closedBefore, ...this.#closed]
  }

  /** It has closed a connection. */
  close(connection: DealtConnection, now: number): void {
    if (now - this.#turned > REMEMBERED) {
      this.#closedBefore = now - this.#turned > 2 * REMEMBERED ? [] : this.#closed
      this.#closed = []
      this.#turned = now
    }
    this.#closed.push(connection)
  }

  /** A message is dealt to it; returns its number. */
  count(request: boolean): number {
    this.dealt++
    if (request) {
      this.requests++
      this.#unseen.push(this.dealt)
    }
    return this.dealt
  }

  /** It says how much it works on, having seen so many messages. */
  report(seen: number, inFlight: number): void {
    this.#reported = inFlight
    const first = this.#unseen.findIndex((number) => number > seen)
    this.#unseen = first === -1 ? [] : this.#unseen.slice(first)
  }
}
