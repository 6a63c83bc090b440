import type { Slot } from './slot.ts'

/** Which slots have members of the topics with a name. */
export class TopicSubscriptions {
  readonly #slots = new Map<string, Set<Slot>>()

  subscribe(name: string, slot: Slot): void {
    const slots = this.#slots.get(name)
    if (slots === undefined) this.#slots.set(name, new Set([slot]))
    else slots.add(slot)
  }

  unsubscribe(name: string, slot: Slot): void {
    const slots = this.#slots.get(name)
    if (slots?.delete(slot) === true && slots.size === 0) this.#slots.delete(name)
  }

  /** A slot is gone. */
  forget(slot: Slot): void {
    for (const name of this.#slots.keys()) this.unsubscribe(name, slot)
  }

  /** The slots that a message of another is for. */
  others(name: string, sender: Slot): Slot[] {
    return [...(this.#slots.get(name) ?? [])].filter((slot) => slot !== sender)
  }
}
