/** A request that waits for a place. */
interface Waiting {
  readonly start: () => void
  readonly awaitsBody: boolean
}

/**
 * Bounds how many handlers run at once, and how many requests wait for one. Those whose client still sends the body take at most half of the
 * places and of the queue: clients that send slowly do not keep the others out.
 */
export class Admission {
  readonly #maxInFlight: number
  readonly #maxQueued: number
  readonly #mostBodies: number
  readonly #mostQueuedBodies: number
  readonly #queue: Waiting[] = []
  #inFlight = 0
  /** How many of those that run, and of those that wait, have a body that still comes. */
  #bodies = 0
  #queuedBodies = 0

  constructor(maxInFlight: number, maxQueued: number) {
    this.#maxInFlight = maxInFlight
    this.#maxQueued = maxQueued
    this.#mostBodies = Math.ceil(maxInFlight / 2)
    this.#mostQueuedBodies = Math.ceil(maxQueued / 2)
  }

  /** Handlers that run. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Handlers that run and requests that wait, without `waitingBodies`: those do not keep requests without a body out. */
  get load(): number {
    return this.#inFlight + this.#queue.length - this.waitingBodies
  }

  /** Requests that wait because the places for requests whose body still comes are taken. */
  get waitingBodies(): number {
    return Math.max(0, this.#bodies + this.#queuedBodies - this.#mostBodies)
  }

  /**
   * Takes a place if one is free; whoever has one gives it back by `leave`.
   *
   * @param awaitsBody Whether the client still sends the request's body.
   */
  enter(awaitsBody = false): boolean {
    if (!this.#hasPlace(awaitsBody)) return false
    this.#take(awaitsBody)
    return true
  }

  /**
   * Calls `start` when a place is free and has been taken for it.
   *
   * @returns false when too many wait already; then `start` is never called.
   */
  queue(start: () => void, awaitsBody = false): boolean {
    if (this.#queue.length >= this.#maxQueued) return false
    if (awaitsBody && this.#queuedBodies >= this.#mostQueuedBodies) return false
    this.#queue.push({ start, awaitsBody })
    if (awaitsBody) this.#queuedBodies++
    return true
  }

  /** Gives a place back. */
  leave(awaitsBody = false): void {
    this.#inFlight--
    if (awaitsBody) this.#bodies--
    this.#startWaiting()
  }

  /** The body of a request that has a place is complete, or is not waited for any more. */
  bodyCame(): void {
    this.#bodies--
    this.#startWaiting()
  }

  #hasPlace(awaitsBody: boolean): boolean {
    return this.#inFlight < this.#maxInFlight && !(awaitsBody && this.#bodies >= this.#mostBodies)
  }

  #take(awaitsBody: boolean): void {
    this.#inFlight++
    if (awaitsBody) this.#bodies++
  }

  #startWaiting(): void {
    for (;;) {
      const at = this.#queue.findIndex(({ awaitsBody }) => this.#hasPlace(awaitsBody))
      const [next] = at === -1 ? [] : this.#queue.splice(at, 1)
      if (next === undefined) return
      if (next.awaitsBody) this.#queuedBodies--
      this.#take(next.awaitsBody)
      next.start()
    }
  }
}
