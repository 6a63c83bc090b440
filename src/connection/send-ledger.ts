/** One message: where its frame ends in the connection's bytes, and how much of that is the user's. */
interface Entry {
  readonly end: number
  readonly size: number
}

/** From so many delivered entries on they are dropped together, which is cheaper than one by one. */
const DROPPED_TOGETHER = 256

/** Counts what has been sent and not been delivered, by the bytes that the user gave, frames' headers left out. */
export class SendLedger {
  #entries: Entry[] = []
  /** The first that has not been delivered. */
  #first = 0
  #amount = 0

  /** A message of `size` bytes was written; its frame ends at `end` in the connection's bytes. */
  add(end: number, size: number): void {
    this.#entries.push({ end, size })
    this.#amount += size
  }

  /** The bytes of messages that have not been delivered, when so many of the connection's bytes have been. */
  undelivered(delivered: number): number {
    for (let entry = this.#entries[this.#first]; entry !== undefined && entry.end <= delivered; ) {
      this.#amount -= entry.size
      entry = this.#entries[++this.#first]
    }
    if (this.#first >= DROPPED_TOGETHER || (this.#first > 0 && this.#first === this.#entries.length)) {
      this.#entries = this.#entries.slice(this.#first)
      this.#first = 0
    }
    return this.#amount
  }
}
