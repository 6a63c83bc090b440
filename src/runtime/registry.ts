import { NumberMap } from './number-map.ts'

/** Things that are open, for as long as they are; in no order. No Set, for the reason of `NumberMap`. */
export class Registry<Value> {
  readonly #values = new NumberMap<Value>()
  #last = 0

  get size(): number {
    return this.#values.size
  }

  /** Adds a value; returns a function that removes it. */
  add(value: Value): () => void {
    const number = ++this.#last
    this.#values.set(number, value)
    return () => void this.#values.delete(number)
  }

  /** Those of now: values may be removed and added while it is read. */
  values(): Value[] {
    return this.#values.values()
  }
}
