import type { Duplex } from 'node:stream'
import { DELIVER_OUTSTANDING_MSGS, FLOW_CONTROL_WINDOW } from '../wire/limits.ts'

/** What ends a delivery behind what was queued before. */
const CLOSE = Symbol('close')

/**
 * What waits for one client, written message by message, each when the stream has taken the one before: so many messages, or with
 * flow control so many bytes, as Mongrel2 lets wait.
 */
export class Delivery {
  readonly #stream: Duplex
  readonly #flowControl: boolean
  readonly #written: (bytes: number) => void
  readonly #queue: (Buffer | typeof CLOSE)[] = []
  #bytes = 0
  #running = false
  #closing = false
  #ending = false

  /** @param written Called for each message that the stream has taken, with its length in bytes. */
  constructor(stream: Duplex, flowControl: boolean, written: (bytes: number) => void) {
    this.#stream = stream
    this.#flowControl = flowControl
    this.#written = written
  }

  /** Whether the end was asked for. */
  get closing(): boolean {
    return this.#closing
  }

  /** Whether the end is queued: what is sent now comes too late. */
  get ending(): boolean {
    return this.#ending
  }

  /** Queues a message; false when too much waits already. */
  send(payload: Buffer): boolean {
    if (this.#ending) return true
    const full = this.#flowControl ? this.#bytes + payload.length > FLOW_CONTROL_WINDOW : this.#crowded
    if (full) return false
    this.#bytes += payload.length
    this.#enqueue(payload)
    return true
  }

  /** Ends the stream behind what waits. Without flow control Mongrel2 forgets it where 16 messages wait; so does this. */
  close(): void {
    this.#closing = true
    if (this.#ending || (!this.#flowControl && this.#crowded)) return
    this.#ending = true
    this.#enqueue(CLOSE)
  }

  get #crowded(): boolean {
    return this.#queue.length >= DELIVER_OUTSTANDING_MSGS
  }

  /** Begins when the replies that came together have all been queued, as Mongrel2 does: 17 of them are too many for any client. */
  #enqueue(entry: Buffer | typeof CLOSE): void {
    this.#queue.push(entry)
    if (this.#running) return
    this.#running = true
    queueMicrotask(() => this.#next())
  }

  #next(): void {
    const entry = this.#queue.shift()
    if (entry === undefined || this.#stream.destroyed || this.#stream.writableEnded) this.#running = false
    else if (entry === CLOSE) this.#stream.end()
    else {
      this.#stream.write(entry, (error) => {
        this.#bytes -= entry.length
        if (!error) this.#written(entry.length)
        this.#next()
      })
    }
  }
}
