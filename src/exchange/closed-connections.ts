/** How long a closed connection is remembered at least, in milliseconds, unless too many follow. */
const REMEMBERED = 60_000
/** How many are remembered at least. */
const MOST = 16_384

/**
 * The connections that we have closed. Mongrel2 goes on parsing what a client had sent behind a refused request, so
 * messages may still come from them: they are known by this, which forgets in two generations.
 */
export class ClosedConnections {
  #recent = new Map<number, string | undefined>()
  #older = new Map<number, string | undefined>()
  #turned = 0

  /** @param uploadPath The file of an upload that was under way: it stays if Mongrel2 still completes it. */
  add(id: number, uploadPath: string | undefined, now: number): void {
    if (this.#recent.size >= MOST || now - this.#turned > REMEMBERED) {
      this.#older = this.#recent
      this.#recent = new Map()
      this.#turned = now
    }
    this.#recent.set(id, uploadPath)
  }

  has(id: number): boolean {
    return this.#recent.has(id) || this.#older.has(id)
  }

  /** The path of the upload that was under way. */
  uploadPath(id: number): string | undefined {
    return this.#recent.get(id) ?? this.#older.get(id)
  }
}
