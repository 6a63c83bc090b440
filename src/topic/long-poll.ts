import type { Member, SharedMessage } from '../connection/shared-message.ts'
import { createResponse } from '../platform/light-response.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'

/** A client that waits for the next message. */
export class LongPoll implements Member {
  /** Called when it ends. */
  whenEnded: (() => void) | undefined
  readonly #answer: Deferred<Response> = deferred()
  readonly #timer: NodeJS.Timeout
  #ended = false

  /** @param timeout Milliseconds until an empty answer. */
  constructor(timeout: number) {
    this.#timer = setTimeout(() => this.end(), timeout)
  }

  get answer(): Promise<Response> {
    return this.#answer.promise
  }

  get ended(): boolean {
    return this.#ended
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
    this.whenEnded?.()
  }
}
