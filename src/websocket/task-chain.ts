/** Runs tasks one after the other; a task that need not wait runs at once. */
export class TaskChain {
  #last: Promise<void> | undefined

  /** Whether something runs: what comes now has to wait for it. */
  get busy(): boolean {
    return this.#last !== undefined
  }

  /** Runs a task when all before it are done. It must not reject. */
  add(task: () => void | Promise<void>): void {
    const last = (this.#last ?? Promise.resolve()).then(task).finally(() => {
      if (this.#last === last) this.#last = undefined
    })
    this.#last = last
  }
}
