/** Says how many bytes it seems to have waiting in Mongrel2. */
export interface WaitingBytes {
  /** Bytes that seem to wait in Mongrel2 now. */
  waitingInMongrel2(now: number): number
}

/** From so many connections on, those that have nothing there any more are forgotten. */
const LEAST_FORGOTTEN = 1024
/** How often the bytes of all connections are counted anew while there is no room, in milliseconds. */
const COUNT_INTERVAL = 100

/** Bounds what waits in Mongrel2 for all connections together that are paced by estimate. */
export class WaitingBudget {
  readonly #limit: number
  readonly #exhausted: () => void
  readonly #holders = new Map<WaitingBytes, number>()
  #used = 0
  #countedAt = Number.NEGATIVE_INFINITY
  #forgetAt = LEAST_FORGOTTEN

  /**
   * @param limit In bytes.
   * @param exhausted Called when a connection has to wait because of the others.
   */
  constructor(limit: number, exhausted: () => void = () => {}) {
    this.#limit = limit
    this.#exhausted = exhausted
  }

  /** Bytes that are free, of so many that are wanted. */
  room(wanted: number, now: number): number {
    if (this.#limit - this.#used < wanted && now - this.#countedAt >= COUNT_INTERVAL) this.#count(now)
    const room = Math.max(0, this.#limit - this.#used)
    if (room < wanted) this.#exhausted()
    return room
  }

  /** A connection has so many bytes there. One that is closed keeps them: Mongrel2 still has them for its client. */
  set(holder: WaitingBytes, bytes: number, now: number): void {
    this.#note(holder, bytes)
    if (this.#holders.size < this.#forgetAt) return
    this.#count(now)
    this.#forgetAt = Math.max(LEAST_FORGOTTEN, 2 * this.#holders.size)
  }

  /** It has none any more. */
  delete(holder: WaitingBytes): void {
    this.#note(holder, 0)
  }

  #note(holder: WaitingBytes, bytes: number): void {
    this.#used += bytes - (this.#holders.get(holder) ?? 0)
    if (bytes > 0) this.#holders.set(holder, bytes)
    else this.#holders.delete(holder)
  }

  /** Time passes, and clients read meanwhile. */
  #count(now: number): void {
    this.#countedAt = now
    for (const holder of this.#holders.keys()) this.#note(holder, holder.waitingInMongrel2(now))
  }
}
