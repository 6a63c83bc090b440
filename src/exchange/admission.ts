/** Bounds how many handlers run at once, and how many requests wait for one. */
export class Admission {
  readonly #maxInFlight: number
  readonly #maxQueued: number
  readonly #queue: (() => void)[] = []
  #inFlight = 0

  constructor(maxInFlight: number, maxQueued: number) {
    this.#maxInFlight = maxInFlight
    this.#maxQueued = maxQueued
  }

  /** Handlers that run. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Requests that wait for one. */
  get queued(): number {
    return this.#queue.length
  }

  /** Takes a place if one is free; whoever has one gives it back by `leave`. */
  enter(): boolean {
    if (this.#inFlight >= this.#maxInFlight) return false
    this.#inFlight++
    return true
  }

  /**
   * Calls `start` when a place is free and has been taken for it.
   *
   * @returns false when too many wait already; then `start` is never called.
   */
  queue(start: () => void): boolean {
    if (this.#queue.length >= this.#maxQueued) return false
    this.#queue.push(start)
    return true
  }

  /** Gives a place back. */
  leave(): void {
    const next = this.#queue.shift()
    if (next === undefined) this.#inFlight--
    else next()
  }
}
