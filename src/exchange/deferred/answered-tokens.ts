/** From so many on, those whose time is over are forgotten. */
const LEAST = 1024

/** The tokens that have been answered, until their time is over. */
export class AnsweredTokens {
  readonly #deadlines = new Map<string, number>()
  #sweepAt = LEAST

  /**
   * @param deadline In milliseconds of `Date.now()`.
   * @returns false when it is there already.
   */
  add(token: string, deadline: number): boolean {
    if (this.#deadlines.has(token)) return false
    this.#deadlines.set(token, deadline)
    if (this.#deadlines.size >= this.#sweepAt) this.#sweep()
    return true
  }

  /** It was not answered after all. */
  delete(token: string): void {
    this.#deadlines.delete(token)
  }

  #sweep(): void {
    const now = Date.now()
    for (const [token, deadline] of this.#deadlines) if (deadline < now) this.#deadlines.delete(token)
    this.#sweepAt = Math.max(LEAST, 2 * this.#deadlines.size)
  }
}
