/** A request that waits for a place. */
interface Waiting {
  readonly start: () => void
  readonly awaitsBody: boolean
}

/** Bounds the running handlers and the waiting requests. At most half of each may lack their body, so that slow clients keep nobody out. */
export class Admission {
  readonly #maxInFlight: number
  readonly #maxQueued: number
  readonly #queue: Waiting[] = []
  #inFlight = 0
  /** Running handlers whose body is still being sent. */
  #bodies = 0
  #queuedBodies = 0

  constructor(maxInFlight: number, maxQueued: number) {
    this.#maxInFlight = maxInFlight
    this.#maxQueued = maxQueued
  }

  /** Running handlers. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Requests that wait for a place. */
  get queued(): number {
    return this.#queue.length
  }

  /** Running handlers and waiting requests, without `waitingBodies`, which do not keep out requests without a body. */
  get load(): number {
    return this.#inFlight + this.#queue.length - this.waitingBodies
  }

  /** Requests that wait because the places for requests with a body are taken. */
  get waitingBodies(): number {
    return Math.max(0, this.#bodies + this.#queuedBodies - this.#maxBodies)
  }

  /** Takes a place if one is free; `leave` gives it back. `awaitsBody` says that the body is still being sent. */
  enter(awaitsBody = false): boolean {
    if (this.#inFlight >= this.#maxInFlight || (awaitsBody && this.#bodies >= this.#maxBodies)) return false
    this.#inFlight++
    if (awaitsBody) this.#bodies++
    return true
  }

  /** Calls `start` when a place is free and has been taken for it. Returns false, and never calls it, when too many wait already. */
  queue(start: () => void, awaitsBody = false): boolean {
    if (this.#queue.length >= this.#maxQueued) return false
    if (awaitsBody && this.#queuedBodies >= Math.ceil(this.#maxQueued / 2)) return false
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

  /** The body of a request that has a place is complete or discarded. */
  bodyCame(): void {
    this.#bodies--
    this.#startWaiting()
  }

  get #maxBodies(): number {
    return Math.ceil(this.#maxInFlight / 2)
  }

  #startWaiting(): void {
    for (;;) {
      const at = this.#queue.findIndex(({ awaitsBody }) => this.enter(awaitsBody))
      const [next] = at === -1 ? [] : this.#queue.splice(at, 1)
      if (next === undefined) return
      if (next.awaitsBody) this.#queuedBodies--
      next.start()
    }
  }
}
