import type { RawClient } from '../support/raw-client.ts'

/** Milliseconds without a byte either way after which a client counts as hung: nothing that is asked for takes a tenth of it. */
export const HUNG_AFTER = 20_000
const LOOK_EVERY = 500

/** Ends a connection on which nothing moves any more. */
export class Watch {
  hung = false
  readonly #raw: RawClient
  readonly #timer: NodeJS.Timeout
  #state = ''
  #movedAt = performance.now()

  constructor(raw: RawClient) {
    this.#raw = raw
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY)
  }

  /** For how many milliseconds nothing had moved at a time of `performance.now()`. */
  silenceAt(time: number): number {
    return time - this.#movedAt
  }

  end(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const state = `${this.#raw.bytesRead} ${this.#raw.bytesUnsent}`
    if (state !== this.#state) this.#movedAt = performance.now()
    this.#state = state
    if (this.silenceAt(performance.now()) < HUNG_AFTER) return
    this.hung = true
    this.#raw.destroy()
  }
}
