import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'

const TYPE = 'MONGREL2_FETCH'
const createResource = () => new AsyncResource(TYPE)

let tracking = false

/**
 * Lets what code goes on with after an await stay in its context: on Node 20 and 22 no promise has one before the first use of any
 * `AsyncLocalStorage`, so that the first `enterWith` of a process could reach others that waited at the same time. Later versions do without.
 */
export function trackPromises(): void {
  if (tracking) return
  tracking = true
  new AsyncLocalStorage().run(true, () => {})
}

/**
 * The async context in which code of the user's runs (`AsyncLocalStorage`): the one in which this object was made.
 *
 * Two scopes and a resource a call cost less than `AsyncLocalStorage.snapshot()`; `npm run bench:micro` times both. A snapshot alone would not do: on Node 20
 * and 22 all calls of one share what is entered in it.
 */
export class CallContext {
  readonly #origin = createResource()
  readonly #shared: boolean

  /**
   * @param shared Whether calls run in it that have nothing to do with each other: each gets a copy, so that what one enters by `enterWith` is not seen by
   *   the next.
   */
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
