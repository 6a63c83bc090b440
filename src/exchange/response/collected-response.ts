import type { RequestSemantics } from '../../connection/request-semantics.ts'
import { plainResponseOf } from '../../platform/light-response.ts'
import { CallContext } from '../../runtime/call-context.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { checkResponse } from './check-response.ts'
import { sendPlain } from './plain-response.ts'
import { cancelBody, type OpenBody, type ResponseSink, sendResponse } from './send-response.ts'

/**
 * Renders a response in full: head, body and framing. Throws Mongrel2Error `over_budget` when it has more than `most` bytes, `invalid_response`
 * when it cannot be sent, and what its body's stream fails with.
 */
export async function collectResponse(
  value: unknown,
  semantics: RequestSemantics,
  most: number,
): Promise<Uint8Array[]> {
  const response = checkResponse(value)
  const collector = new Collector(most, semantics)
  const plain = plainResponseOf(response)
  const sent =
    (plain && sendPlain(plain, semantics, collector)) ??
    (await sendResponse(response, semantics, collector, (body) => {
      collector.body = body
    }))
  if (collector.fault !== undefined) throw collector.fault
  if (sent.fault !== undefined) throw sent.fault
  return collector.pieces
}

/** Keeps the written bytes, up to a bound. */
class Collector implements ResponseSink {
  readonly context = new CallContext()
  readonly pieces: Uint8Array[] = []
  fault: Mongrel2Error | undefined
  body: OpenBody | undefined
  readonly #most: number
  readonly #semantics: RequestSemantics
  #size = 0

  constructor(most: number, semantics: RequestSemantics) {
    this.#most = most
    this.#semantics = semantics
  }

  get aborted(): boolean {
    return this.fault !== undefined
  }

  write(bytes: Uint8Array): void {
    this.#size += bytes.length
    if (this.#size <= this.#most) this.pieces.push(bytes)
    else if (this.fault === undefined) {
      this.fault = new Mongrel2Error('over_budget', `expected a response of at most ${this.#most} bytes, head included`)
      if (this.body !== undefined) this.context.run(cancelBody, this.body, this.fault)
    }
  }

  writeShared(bytes: Uint8Array): void {
    this.write(bytes)
  }

  writable(): undefined {}

  /** The caller decides whether the connection closes. */
  persists(): boolean {
    return this.#semantics.persistent
  }

  /** Nothing goes out before the end. */
  undelivered(): number {
    return 0
  }

  /** The caller decides whether the body ends. */
  whenEnding(): void {}
}
