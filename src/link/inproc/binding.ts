import { type Deferred, deferred, tickEnd } from '../../runtime/promises.ts'
import type { Message } from '../../wire/message.ts'
import type { Reply } from '../../wire/reply.ts'

/** By `send_spec` and by `recv_spec`. */
const bindings = new Map<string, Binding>()

/** The Handler at a spec; undefined if no gateway of this process has bound it. */
export function bindingAt(spec: string): Binding | undefined {
  return bindings.get(spec)
}

/** A gateway's side of a Handler whose messages and replies stay in this process. */
export class Binding {
  /** The `recv_ident`. */
  readonly prefix: string
  readonly closed: Promise<void>
  readonly #specs: readonly string[]
  readonly #receive: (replies: readonly Reply[]) => void
  readonly #closed: Deferred<void> = deferred()
  /** The handlers' sides. Messages are dealt in turn, as by a PUSH. */
  readonly #sources: ((message: Message) => void)[] = []
  #attached: Deferred<void> = deferred()
  #open = true
  readonly #replies: Reply[][] = []
  #delivered: Promise<void> | undefined

  /**
   * @param specs The `send_spec` and the `recv_spec`; throws Error if one is bound.
   * @param receive Called with the replies of a turn, not within the handler's call. Must not throw.
   */
  constructor(specs: readonly string[], prefix: string, receive: (replies: readonly Reply[]) => void) {
    const taken = specs.find((spec) => bindings.has(spec))
    if (taken !== undefined) throw Object.assign(new Error(`${taken} is already bound`), { code: 'EADDRINUSE' })
    this.prefix = prefix
    this.closed = this.#closed.promise
    this.#specs = specs
    this.#receive = receive
    for (const spec of specs) bindings.set(spec, this)
  }

  /** Hands a message to a handler; false if none pulls. */
  deal(message: Message): boolean {
    const source = this.#sources.shift()
    if (source === undefined) return false
    this.#sources.push(source)
    source(message)
    return true
  }

  /** Hands a message to a handler as soon as one pulls; drops it when this is closed before. */
  async send(message: Message): Promise<void> {
    while (this.#open && !this.deal(message)) await this.#attached.promise
  }

  /** Begins to deal messages to a handler; returns a function that ends this. */
  attach(source: (message: Message) => void): () => void {
    this.#sources.push(source)
    this.#attached.resolve()
    return () => {
      const at = this.#sources.indexOf(source)
      if (at !== -1) this.#sources.splice(at, 1)
      if (this.#sources.length === 0 && this.#open) this.#attached = deferred()
    }
  }

  /** Takes the replies of a turn. */
  publish(replies: Reply[]): void {
    if (!this.#open) return
    this.#replies.push(replies)
    this.#delivered ??= this.#deliver()
  }

  /** Resolves when no reply waits. */
  async drained(): Promise<void> {
    await this.#delivered
  }

  close(): void {
    this.#open = false
    for (const spec of this.#specs) bindings.delete(spec)
    this.#attached.resolve()
    this.#closed.resolve()
  }

  async #deliver(): Promise<void> {
    await tickEnd()
    try {
      for (let turn = this.#replies.shift(); turn !== undefined; turn = this.#replies.shift()) {
        this.#receive(turn)
        // Lets the sockets' write callbacks run before the next replies are counted against the limits.
        await tickEnd()
      }
    } finally {
      // Also when a chunk of a handler's can no longer be read, since it was transferred.
      this.#delivered = undefined
    }
  }
}
