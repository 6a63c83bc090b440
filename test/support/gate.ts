/** Lets a test see that something arrived, and decide when it goes on. */
export class Gate {
  readonly #waiting = new Map<string, () => void>()
  readonly #expected = new Map<string, () => void>()

  /** Waits at the gate until the test opens it for this name. */
  pass(name: string): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.set(name, resolve)
      this.#expected.get(name)?.()
    })
  }

  /** Resolves when somebody waits under this name. */
  async arrival(name: string): Promise<void> {
    if (this.#waiting.has(name)) return
    await new Promise<void>((resolve) => {
      this.#expected.set(name, resolve)
    })
  }

  open(name: string): void {
    this.#waiting.get(name)?.()
    this.#waiting.delete(name)
  }
}
