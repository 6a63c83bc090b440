import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { deferred } from '../../src/runtime/promises.ts'

/** How a generator of steps ended. */
export type End = 'finished' | 'left'

/** How long a step takes that nobody reads, in milliseconds: so slow that an app does not spin until it notices. */
const UNREAD_STEP = 20

/** Tells an app in another process which of its stream's steps have been read (`frameworks/steps.ts`). */
export class StepGate implements AsyncDisposable {
  readonly #server = createServer(({ url = '' }, response) => this.#answer(url, response))
  #read = 0
  #left = false
  #waiting: { step: number; response: ServerResponse }[] = []
  #ended = deferred<End>()

  static async open(): Promise<StepGate> {
    const gate = new StepGate()
    gate.#server.listen(0, '127.0.0.1')
    await once(gate.#server, 'listening')
    return gate
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** How the app's generator ended. */
  get ended(): Promise<End> {
    return this.#ended.promise
  }

  /** Begins another stream. */
  reset(): void {
    this.#read = 0
    this.#left = false
    this.#ended = deferred()
  }

  /** A step has arrived: the app may make the next one. */
  read(step: number): void {
    this.#read = step
    this.#release()
  }

  /** The client has left: the app may make what steps it likes. */
  leave(): void {
    this.#left = true
    this.#release()
  }

  #answer(url: string, response: ServerResponse): void {
    const [, word = '', step] = url.split('/')
    if (word === 'read') {
      this.#waiting.push({ step: Number(step), response })
      if (this.#left) setTimeout(() => this.#release(), UNREAD_STEP)
      else this.#release()
      return
    }
    this.#ended.resolve(word as End)
    response.end()
  }

  #release(): void {
    this.#waiting = this.#waiting.filter(({ step, response }) => {
      if (!this.#left && step > this.#read) return true
      response.end()
      return false
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leave()
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }
}
