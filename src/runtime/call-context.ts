import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'

const TYPE = 'MONGREL2_FETCH'
const createResource = () => new AsyncResource(TYPE)

let tracking = false

/**
 * Makes promises keep their context. On Node 20 and 22 none does before the first use of any `AsyncLocalStorage`, so that the first
 * `enterWith` of a process could affect other code that waits at the same time.
 */
export function trackPromises(): void {
  if (tracking) return
  tracking = true
  new AsyncLocalStorage().run(true, () => {})
}

/**
 * The async context (`AsyncLocalStorage`) for user code: the one in which this object was made. Cheaper than
 * `AsyncLocalStorage.snapshot()` (`npm run bench:micro`), whose calls moreover share one context on Node 20 and 22.
 */
export class CallContext {
  readonly #origin = createResource()
  readonly #shared: boolean

  /** @param shared Whether unrelated calls run in it: each gets a copy, so that `enterWith` in one does not affect the next. */
  constructor(shared = false) {
    this.#shared = shared
  }

  run<Parameters extends unknown[], Result>(
    call: (...parameters: Parameters) => Result,
    ...parameters: Parameters
  ): Result {
    const resource = this.#shared ? this.#origin.runInAsyncScope(createResource) : this.#origin
    return resource.runInAsyncScope(call, undefined, ...parameters)
  }
}
