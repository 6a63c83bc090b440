/** Slots of an empty table, a power of two. */
const FEWEST = 16
/** 2^32 divided by the golden ratio, for multiplicative hashing (Knuth, The Art of Computer Programming, section 6.4). */
const GOLDEN_RATIO = 0x9e3779b1
/** A table with so many slots for each entry gets a quarter of them, so that what came once does not last. */
const SPARSE = 16
/** ... but not before so many deletions: as many entries may come again at once. */
const MIN_DELETIONS = 1024

/**
 * A Map by integers from 0 on, for entries that come and go all the time. A Map moves to a new table every so many entries, and its old
 * tables keep what they held alive until a full garbage collection; this one uses its slots again. In no order.
 */
export class NumberMap<Value> {
  /** Keys by slot; -1 where a slot is empty. An entry is in the slot of its key, or in the next one that was empty. */
  #keys: Float64Array = new Float64Array(FEWEST).fill(-1)
  #values: (Value | undefined)[] = new Array<Value | undefined>(FEWEST).fill(undefined)
  #size = 0
  /** Since the table has as many slots as now. */
  #deletions = 0

  get size(): number {
    return this.#size
  }

  get(key: number): Value | undefined {
    const slot = this.#find(key)
    return this.#keys[slot] === key ? this.#values[slot] : undefined
  }

  has(key: number): boolean {
    return this.#keys[this.#find(key)] === key
  }

  set(key: number, value: Value): void {
    if (this.#size * 2 >= this.#keys.length) this.#resize(this.#keys.length * 2)
    const slot = this.#find(key)
    if (this.#keys[slot] !== key) this.#size++
    this.#keys[slot] = key
    this.#values[slot] = value
  }

  delete(key: number): boolean {
    let hole = this.#find(key)
    const keys = this.#keys
    if (keys[hole] !== key) return false
    this.#size--
    const last = keys.length - 1
    // Entries that were put behind it move up.
    for (let slot = (hole + 1) & last; keys[slot] !== -1; slot = (slot + 1) & last) {
      const home = slotOf(keys[slot] as number, last)
      if (((slot - home) & last) < ((slot - hole) & last)) continue
      keys[hole] = keys[slot] as number
      this.#values[hole] = this.#values[slot]
      hole = slot
    }
    keys[hole] = -1
    this.#values[hole] = undefined
    this.#deletions++
    if (keys.length > FEWEST && this.#size * SPARSE < keys.length && this.#deletions >= MIN_DELETIONS)
      this.#resize(Math.max(FEWEST, keys.length / 4))
    return true
  }

  clear(): void {
    this.#keys = new Float64Array(FEWEST).fill(-1)
    this.#values = new Array<Value | undefined>(FEWEST).fill(undefined)
    this.#size = 0
  }

  /** Those of now: entries may be deleted and added while it is read. */
  values(): Value[] {
    const values: Value[] = []
    for (const [slot, key] of this.#keys.entries()) if (key !== -1) values.push(this.#values[slot] as Value)
    return values
  }

  /** The slot of a key, or the one to put it in. */
  #find(key: number): number {
    const keys = this.#keys
    const last = keys.length - 1
    let slot = slotOf(key, last)
    while (keys[slot] !== key && keys[slot] !== -1) slot = (slot + 1) & last
    return slot
  }

  #resize(slots: number): void {
    const keys = this.#keys
    const values = this.#values
    this.#deletions = 0
    this.#keys = new Float64Array(slots).fill(-1)
    this.#values = new Array<Value | undefined>(slots).fill(undefined)
    for (const [slot, key] of keys.entries()) {
      if (key === -1) continue
      const place = this.#find(key)
      this.#keys[place] = key
      this.#values[place] = values[slot]
    }
  }
}

/** Keys in a row fall far from each other, so that no long runs of slots are full, which each deletion would have to go through. */
function slotOf(key: number, last: number): number {
  return Math.imul(key, GOLDEN_RATIO) >>> Math.clz32(last)
}

/** A NumberMap that is only read. */
export type ReadonlyNumberMap<Value> = Pick<NumberMap<Value>, 'size' | 'get' | 'has' | 'values'>
