import { uploadHeadersOf } from '../../exchange/request/framing.ts'
import type { Message } from '../../wire/message.ts'
import type { DealtConnection, ReceivedMessage, ThreadState } from './state.ts'

/** A header of both messages of a stored body. */
const UPLOAD_START = 'x-mongrel2-upload-start'

/** The places for requests at handler threads, and the connections that wait for one. */
export class Places {
  /** The threads that get new connections, in the order of their last ones. */
  readonly threads: Set<ThreadState> = new Set()
  /** Connections that wait for a place. */
  queued = 0
  readonly #maxInFlight: number
  readonly #maxQueued: number
  #tickets = 0

  constructor(maxInFlight: number, maxQueued: number) {
    this.#maxInFlight = maxInFlight
    this.#maxQueued = maxQueued
  }

  /** Moves the thread of a new connection to the end: among equals, `pick` takes the first. */
  putLast(thread: ThreadState): void {
    if (this.threads.delete(thread)) this.threads.add(thread)
  }

  hasRoom(thread: ThreadState): boolean {
    return thread.inFlight < this.#maxInFlight
  }

  /** Picks the thread with the least in flight, then the fewest connections, then in turn; retiring threads last. */
  pick(connection: DealtConnection): ThreadState | undefined {
    let best: ThreadState | undefined
    for (const thread of this.threads) {
      if (!thread.attached.has(connection.epoch) || !canTakeHeld(thread, connection)) continue
      if (best === undefined || isBetter(thread, best)) best = thread
    }
    return best
  }

  /** Whether a connection should leave its thread: that retires or is full and there is a better one, or it cannot read a stored body. */
  hasBetter(thread: ThreadState, connection: DealtConnection): boolean {
    if (!canTakeHeld(thread, connection)) return true
    if (!thread.retiring && this.hasRoom(thread)) return false
    const best = this.pick(connection)
    return best !== undefined && best !== thread && !best.retiring && (thread.retiring || this.hasRoom(best))
  }

  /** Queues a connection for a place; false if the queue is full. */
  queue(connection: DealtConnection): boolean {
    if (this.threads.size === 0 || this.queued >= this.#maxQueued) return false
    connection.waitsFor = 'place'
    connection.ticket = this.#tickets++
    this.queued++
    waitingWith(connection).add(connection)
    return true
  }

  unqueue(connection: DealtConnection): void {
    waitingWith(connection).delete(connection)
    connection.waitsFor = undefined
    this.queued--
  }

  /** Dequeues the connection that has waited longest for a place at a thread; undefined if there is none. */
  next(thread: ThreadState): DealtConnection | undefined {
    if (this.queued === 0 || !this.hasRoom(thread)) return undefined
    let [first] = thread.waiting
    for (const epoch of thread.attached) {
      const connection = firstFor(thread, epoch.waiting)
      if (connection === undefined || (thread.retiring && this.hasBetter(thread, connection))) continue
      if (first === undefined || connection.ticket < first.ticket) first = connection
    }
    if (first !== undefined) this.unqueue(first)
    return first
  }
}

/** Whether a thread can handle a message: not all see the files of stored bodies. */
export function canTake(thread: ThreadState, { message }: ReceivedMessage): boolean {
  return thread.seesUploads || message?.headers.first(UPLOAD_START) === undefined
}

export function canTakeHeld(thread: ThreadState, { held = [] }: DealtConnection): boolean {
  return thread.seesUploads || held.every((received) => canTake(thread, received))
}

/** The file of a complete stored body; the thread that gets the message deletes it. */
export function storedPathOf(message: Message): string | undefined {
  if (message.headers.first('x-mongrel2-upload-done') === undefined) return undefined
  const upload = uploadHeadersOf(message)
  return upload.stage === 'done' ? upload.path : undefined
}

function isBetter(thread: ThreadState, than: ThreadState): boolean {
  if (thread.retiring !== than.retiring) return than.retiring
  return thread.inFlight < than.inFlight || (thread.inFlight === than.inFlight && thread.connections < than.connections)
}

function waitingWith({ thread, epoch }: DealtConnection): Set<DealtConnection> {
  return thread?.waiting ?? epoch.waiting
}

/** The first waiting connection that a thread can take. */
function firstFor(thread: ThreadState, waiting: ReadonlySet<DealtConnection>): DealtConnection | undefined {
  for (const connection of waiting) if (canTakeHeld(thread, connection)) return connection
  return undefined
}
