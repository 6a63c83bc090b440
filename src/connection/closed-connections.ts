/** How long a closed connection is remembered at least, in milliseconds, unless too many follow. */
const REMEMBERED = 60_000
/** How many are remembered at least. */
const MOST = 16_384

/**
 * The connections that we have closed. Mongrel2 goes on parsing what a client had sent behind a refused request, so
 * messages may still come from them: they are known by this, which forgets in two generations.
 *
 * @typeParam By What is remembered of each.
 */
export class ClosedConnections<By = undefined> {
  #recent = new Map<number, By | undefined>()
  #older = new Map<number, By | undefined>()
  #turned = 0

  /** @param now In milliseconds of `performance.now()`. */
  add(id: number, now: number, by?: By): void {
    if (this.#recent.size >= MOST || now - this.#turned > REMEMBERED) {
      this.#older = this.#recent
      this.#recent = new Map()
      this.#turned = now
    }
    this.#recent.set(id, by)
  }

  has(id: number): boolean {
    return this.#recent.has(id) || this.#older.has(id)
  }

  /** What is remembered of one. */
  get(id: number): By | undefined {
    return this.#recent.get(id) ?? this.#older.get(id)
  }
}
