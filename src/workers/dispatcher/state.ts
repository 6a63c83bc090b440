import { ClosedConnections, type LeftConnections } from '../../connection/closed-connections.ts'
import { type Figures, noFigures } from '../../operations/figures.ts'
import { NumberMap } from '../../runtime/number-map.ts'
import type { Message } from '../../wire/message.ts'

// The dispatcher's view of handler threads, epochs and connections, which refer to each other.

/** Least time to remember a closed connection, in milliseconds: the close reaches Mongrel2 within it. */
const REMEMBERED = 1000

/** A handler thread of a worker process. */
export class ThreadState {
  /** Its number within its process. */
  readonly index: number
  readonly seesUploads: boolean
  /** The epochs that it can answer to. */
  readonly attached = new Set<DealtEpoch>()
  /** Connections that wait for a place at this thread and cannot move. */
  readonly waiting = new Set<DealtConnection>()
  /** Whether it will end: it keeps its connections, and gets new ones only if there is no other thread. */
  retiring = false
  connections = 0
  /** Requests that were dealt to it on idle connections. */
  requests = 0
  /** Messages that were dealt to it. */
  dealt = 0
  /** Its figures at its last sign of life. */
  figures: Figures = noFigures()
  /** The longest delay of its event loop before that, in milliseconds. */
  eventLoopDelay = 0
  /** Connections that it closed in the present period of `REMEMBERED`, and in the one before. */
  #closed: DealtConnection[] = []
  #closedBefore: DealtConnection[] = []
  #turned = 0
  /** Handlers that had not returned at its last report. */
  #reported = 0
  /** The message numbers of requests that it had not seen at that report. */
  #unseen: number[] = []

  /** @param seesUploads Whether it can read the files in which Mongrel2 stores uploads. */
  constructor(index: number, seesUploads = true) {
    this.index = index
    this.seesUploads = seesUploads
  }

  /** Requests that it handles, or has still to read. */
  get inFlight(): number {
    return this.#reported + this.#unseen.length
  }

  /** The connections whose close may be lost if the thread ends. */
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

  /** Takes its report of requests in flight after so many messages. */
  report(seen: number, inFlight: number): void {
    this.#reported = inFlight
    const first = this.#unseen.findIndex((number) => number > seen)
    this.#unseen = first === -1 ? [] : this.#unseen.slice(first)
  }
}

/** An epoch, as the dispatcher sees it. */
export class DealtEpoch {
  /** The link's number, in the order of the endpoints. */
  readonly link: number
  /** Unique among all epochs of all links. */
  readonly number: number
  readonly connections = new NumberMap<DealtConnection>()
  /** Connections without a thread that wait for one. */
  readonly waiting = new Set<DealtConnection>()
  /** Closed connections, with the threads that closed them. */
  readonly closed = new ClosedConnections<ThreadState>()
  /** Connections that the epoch before left open; after the end, those that this one leaves open. */
  readonly left: LeftConnections

  constructor(link: number, number: number, left: LeftConnections = new Map()) {
    this.link = link
    this.number = number
    this.left = left
  }
}

/** The phase of a connection, as far as reported to the dispatcher. */
type DealtPhase =
  /** Nothing is open on it. */
  | 'idle'
  /** A request is open, and no byte of its answer has been published. */
  | 'waiting'
  /** An answer has begun. */
  | 'answering'
  /** The answer is deferred. */
  | 'deferred'

/** A request whose end no thread has reported. */
export interface OpenRequest {
  readonly bytes: Buffer
  /** When it was dealt, by `performance.now()`; undefined if it waits. */
  readonly since?: number
}

/** A received message. */
export interface ReceivedMessage {
  readonly bytes: Buffer
  /** The parsed message, if its headers may matter to the dispatcher. */
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
  /** Bytes of its previous thread that Mongrel2 has not written yet. */
  unwrittenBytes = 0
  /** Whether the body of a request comes in parts, by credits. */
  streaming = false
  /** Files of stored bodies that its thread would delete. */
  uploads: string[] | undefined
  /** The request that was dealt, if requests are observed. */
  request: OpenRequest | undefined
  /** Messages that wait, in order. */
  held: ReceivedMessage[] | undefined
  waitsFor: 'place' | 'handOver' | 'idle' | undefined
  /** Its position among the connections that wait for a place. */
  ticket = 0

  constructor(epoch: DealtEpoch, id: number, sender: string) {
    this.epoch = epoch
    this.id = id
    this.sender = sender
  }
}

/** The threads that have members of each named topic. */
export class TopicSubscriptions {
  readonly #threads = new Map<string, Set<ThreadState>>()

  subscribe(name: string, thread: ThreadState): void {
    const threads = this.#threads.get(name)
    if (threads === undefined) this.#threads.set(name, new Set([thread]))
    else threads.add(thread)
  }

  unsubscribe(name: string, thread: ThreadState): void {
    const threads = this.#threads.get(name)
    if (threads?.delete(thread) === true && threads.size === 0) this.#threads.delete(name)
  }

  forget(thread: ThreadState): void {
    for (const name of this.#threads.keys()) this.unsubscribe(name, thread)
  }

  /** The threads that get a message: all but its sender. */
  others(name: string, sender: ThreadState): ThreadState[] {
    return [...(this.#threads.get(name) ?? [])].filter((thread) => thread !== sender)
  }
}
