import type { ThreadState } from './state.ts'

/** Which threads have members of the topics with a name. */
export class TopicSubscriptions {
  readonly #threads = new Map<string, Set<ThreadState>>()

  subscribe(name: string, thread: ThreadState): void {
    const threads = this.#threads.get(name)
    if (threads === undefined) this.#threads.set(name, new Set([thread]))
    else threads.add(thread)
  }

  unsubscribe(name: string, thread: ThreadState): void {
    const threads = this.#threads.get(name)
    if (threads?.delete(thread) === true && threads.size === 0) this.#threads.delete(name)
  }

  /** Forgets a thread that is gone. */
  forget(thread: ThreadState): void {
    for (const name of this.#threads.keys()) this.unsubscribe(name, thread)
  }

  /** The threads that get a message, without its sender. */
  others(name: string, sender: ThreadState): ThreadState[] {
    return [...(this.#threads.get(name) ?? [])].filter((thread) => thread !== sender)
  }
}
