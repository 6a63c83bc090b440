import type { Mongrel2Context } from './handler.ts'

/** Waits for work that nobody else waits for, and logs its failure. */
export interface Background {
  inBackground(promise: Promise<unknown>): void
}

/** Told of tasks that may take longer than the response. */
export interface Outlived {
  outlivedBy(task: Promise<unknown>): void
}

const NO_PROPS: Record<string, never> = Object.freeze({})

/** The context of one request: keeps what its handler gives to `waitUntil`. */
export class HandlerContext implements Mongrel2Context {
  readonly props: Record<string, never> = NO_PROPS
  readonly #background: Background
  readonly #exchange: Outlived
  #work: Promise<unknown>[] | undefined

  constructor(background: Background, exchange: Outlived) {
    this.#background = background
    this.#exchange = exchange
  }

  waitUntil(promise: Promise<unknown>): void {
    const task = Promise.resolve(promise)
    this.#work ??= []
    this.#work.push(task)
    this.#exchange.outlivedBy(task)
    this.#background.inBackground(task)
  }

  passThroughOnException(): void {}

  /** Resolves when all that was given to `waitUntil` is done, well or badly, also what was given meanwhile. */
  async settled(): Promise<void> {
    while (this.#work !== undefined) {
      const work = this.#work
      this.#work = undefined
      await Promise.allSettled(work)
    }
  }
}
