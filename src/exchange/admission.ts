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

  /**
   * Calls `start` now or when a place is free; `start` calls `leave` once when it is done.
   *
   * @returns false when the queue is full; then `start` is never called.
   */
  enter(start: () => void): boolean {
    if (this.#inFlight < this.#maxInFlight) {
      this.#inFlight++
      start()
      return true
    }
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
