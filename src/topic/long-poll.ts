import type { Audience, SharedMessage, Subscriber } from '../connection/shared-message.ts'
import { createResponse } from '../platform/light-response.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'

/** A client that waits for the next message. */
export class LongPoll implements Subscriber {
  readonly #answer: Deferred<Response> = deferred()
  readonly #timer: NodeJS.Timeout
  #audience: Audience | undefined
  #ended = false

  /** @param timeout Milliseconds after which the answer is an empty one. */
  constructor(timeout: number) {
    this.#timer = setTimeout(() => this.end(), timeout)
  }

  /** The message, or an empty answer. */
  get answer(): Promise<Response> {
    return this.#answer.promise
  }

  join(audience: Audience): boolean {
    if (this.#ended) return false
    this.#audience = audience
    return true
  }

  leave(): void {
    this.#audience = undefined
  }

  deliver(message: SharedMessage): void {
    this.#end(() => message.createAnswer())
  }

  /** Answers without a message. */
  end(): void {
    this.#end(() => createResponse(null, { status: 204 }))
  }

  #end(respond: () => Response): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#timer)
    this.#answer.resolve(respond())
    this.#audience?.remove(this)
  }
}
