import type { Reply } from '../../wire/reply.ts'
import type { Subscription } from '../../wire/zmtp-subscription.ts'

/** What the other side of a PUB has subscribed to. The same prefix twice has to be cancelled twice (RFC 37). */
export class Subscriptions {
  readonly #counts = new Map<string, number>()
  #prefixes: Buffer[] = []
  /** Whether every message is wanted, the usual case. */
  #all = false

  change({ kind, prefix }: Subscription): void {
    const key = prefix.toString('latin1')
    const count = (this.#counts.get(key) ?? 0) + (kind === 'subscribe' ? 1 : -1)
    if (count > 0) this.#counts.set(key, count)
    else this.#counts.delete(key)
    this.#all = this.#counts.has('')
    this.#prefixes = [...this.#counts.keys()].map((text) => Buffer.from(text, 'latin1'))
  }

  /** The messages that are wanted, in their order. */
  filter(messages: readonly Reply[]): readonly Reply[] {
    return this.#all ? messages : messages.filter((message) => this.#prefixes.some((prefix) => begins(message, prefix)))
  }
}

/** An envelope is in one piece, and no prefix that Mongrel2 subscribes to goes beyond it. */
function begins(reply: Reply, prefix: Buffer): boolean {
  const message = Buffer.isBuffer(reply) ? reply : (reply[0] as Buffer)
  return message.length >= prefix.length && prefix.compare(message, 0, prefix.length) === 0
}
