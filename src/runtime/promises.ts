/** A promise and the functions that settle it (`Promise.withResolvers`, which Node 20 lacks). */
export interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(reason: unknown): void
}

/** Makes a deferred, whose rejection is never reported as unhandled. */
export function deferred<T = void>(): Deferred<T> {
  let settle: Omit<Deferred<T>, 'promise'> | undefined
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject }
  })
  promise.catch(() => {})
  return { promise, ...(settle as Omit<Deferred<T>, 'promise'>) }
}

/** Resolves after so many milliseconds; does not keep the process alive. */
export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds).unref()
  })
}

let thisTickEnd: Promise<void> | undefined

/** Resolves when the microtask queue is empty: `nextTick`, called from a microtask, runs after all of them. */
export function tickEnd(): Promise<void> {
  thisTickEnd ??= new Promise((resolve) => {
    const end = () => {
      thisTickEnd = undefined
      resolve()
    }
    void Promise.resolve().then(() => process.nextTick(end))
  })
  return thisTickEnd
}

/** Resolves when this turn of the event loop is over: everything that was ready to be read has been read. */
export { setImmediate as turnEnd } from 'node:timers/promises'

/** A wait that can be ended early. It keeps the process alive, since a server that waits for Mongrel2 must not exit. */
export class Pause {
  #end: (() => void) | undefined

  /** Resolves after so many milliseconds, or when `end` is called. */
  wait(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      this.#end = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  end(): void {
    this.#end?.()
  }
}

/** The waits between attempts, in milliseconds: each doubles, up to a bound. */
export class Backoff {
  readonly #first: number
  readonly #longest: number
  #next: number

  constructor(first: number, longest: number) {
    this.#first = first
    this.#longest = longest
    this.#next = first
  }

  /** Whether an attempt has failed since the last success. */
  get failed(): boolean {
    return this.#next > this.#first
  }

  /** The wait after a failed attempt. */
  next(): number {
    const wait = this.#next
    this.#next = Math.min(2 * wait, this.#longest)
    return wait
  }

  /** Call it when an attempt has succeeded. */
  reset(): void {
    this.#next = this.#first
  }
}

/** Calls an action when a signal is aborted, or at once if it already is. Returns a function that removes the action. */
export function whenAborted(signal: AbortSignal | undefined, action: () => void): () => void {
  if (signal?.aborted === true) action()
  else signal?.addEventListener('abort', action, { once: true })
  return () => signal?.removeEventListener('abort', action)
}

/** Runs tasks one after the other. */
export class TaskChain {
  #last: Promise<void> | undefined

  /** Whether a task runs, so that new tasks have to wait. */
  get busy(): boolean {
    return this.#last !== undefined
  }

  /** Runs a task after all tasks before it. It must not reject. */
  add(task: () => void | Promise<void>): void {
    const last = (this.#last ?? Promise.resolve()).then(task).finally(() => {
      if (this.#last === last) this.#last = undefined
    })
    this.#last = last
  }
}
