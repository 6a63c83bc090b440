import { ClosedConnections, type LeftConnections } from '../../connection/closed-connections.ts'
import { noPacings, type PacingCounts } from '../../connection/pacing/pacing.ts'
import type { Message } from '../../wire/message.ts'

// What the dispatcher knows of handler threads, epochs and connections, which refer to each other.

/** How long a connection that was closed is remembered at least, in milliseconds: until then the close has reached Mongrel2. */
const REMEMBERED = 1000

/** A handler thread: a thread of a worker process, or all of one. */
export class ThreadState {
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
  /** How its connections are paced, as it reported last. */
  pacing: PacingCounts = noPacings()
  /** Connections that it has closed within the last `REMEMBERED`, and within the one before. */
  #closed: DealtConnection[] = []
  #closedBefore: DealtConnection[] = []
  #turned = 0
  /** Handlers that had not returned at its last report. */
  #reported = 0
  /** Requests that it had not seen then, by the numbers of their messages. */
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

  /** Notes that it has closed a connection. */
  close(connection: DealtConnection, now: number): void {
    if (now - this.#turned > REMEMBERED) {
      this.#closedBefore = now - this.#turned > 2 * REMEMBERED ? [] : this.#closed
      this.#closed = []
      this.#turned = now
    }
    this.#closed.push(connection)
  }

  /** Counts a message that is dealt to it; returns the message's number. */
  count(request: boolean): number {
    this.dealt++
    if (request) {
      this.requests++
      this.#unseen.push(this.dealt)
    }
    return this.dealt
  }

  /** Notes how much it works on, having seen so many messages. */
  report(seen: number, inFlight: number): void {
    this.#reported = inFlight
    const first = this.#unseen.findIndex((number) => number > seen)
    this.#unseen = first === -1 ? [] : this.#unseen.slice(first)
  }
}

/** One life of a Mongrel2. */
export class DealtEpoch {
  /** The link's number, in the order of the endpoints. */
  readonly link: number
  /** Unique among all epochs of all links. */
  readonly number: number
  readonly connections = new Map<number, DealtConnection>()
  /** Connections without a thread that wait for one. */
  readonly waiting = new Set<DealtConnection>()
  /** By the threads that closed them. */
  readonly closed = new ClosedConnections<ThreadState>()
  /** What the epoch before has left open; once this one has ended, what it leaves itself. */
  readonly left: LeftConnections

  constructor(link: number, number: number, left: LeftConnections = new Map()) {
    this.link = link
    this.number = number
    this.left = left
  }
}

/** Where a connection stands, as far as the dispatcher has been told. */
type DealtPhase =
  /** Nothing is open on it. */
  | 'idle'
  /** It has sent something, and no byte of an answer has gone out. */
  | 'waiting'
  /** An answer has begun. */
  | 'answering'
  /** The answer is left to others. */
  | 'deferred'

/** A message as it came. */
export interface ReceivedMessage {
  readonly bytes: Buffer
  /** The parsed message, where its content may matter to more than its worker. */
  readonly message: Message | undefined
}

/** A connection that a thread has, or that waits for one. */
export class DealtConnection {
  readonly epoch: DealtEpoch
  readonly id: number
  readonly sender: string
  thread: ThreadState | undefined
  state: DealtPhase = 'idle'
  /** The number of its last message that was dealt. */
  last = 0
  /** Bytes that Mongrel2 has not written yet, from the time with the thread before. */
  balance = 0
  /** Whether the body of a request comes in parts, by credits. */
  streaming = false
  /** Files of stored bodies that its thread would delete. */
  uploads: string[] | undefined
  /** Messages that wait, in their order, and what for. */
  held: ReceivedMessage[] | undefined
  waitsFor: 'place' | 'handOver' | 'idle' | undefined
  /** Its place among those that wait. */
  ticket = 0

  constructor(epoch: DealtEpoch, id: number, sender: string) {
    this.epoch = epoch
    this.id = id
    this.sender = sender
  }
}
