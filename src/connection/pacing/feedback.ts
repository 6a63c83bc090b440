import { type ControlPortAddress, controlPortProblem } from '../../link/control-port.ts'
import { describeError, type ThrottledWarning } from '../../runtime/log.ts'
import { delay, Pause } from '../../runtime/promises.ts'
import type { Connection } from '../connection.ts'
import { ControlPortState } from './control-port-state.ts'

/** The part of Mongrel2's control port that pacing uses. */
export interface FeedbackSource {
  readonly address: ControlPortAddress
  /** Bytes written to each connection that is open, by its number. */
  bytesWritten(): Promise<Map<number, number>>
  close(): void
}

/** Milliseconds between two questions after a message was delivered; doubled each time that none was, up to the second. */
const INTERVAL_MOVING = 1
const INTERVAL_STILL = 250
/** Milliseconds between two questions, a connection: a question costs Mongrel2 1.25 µs a connection, and may take a tenth of its time. */
const INTERVAL_PER_CONNECTION = 0.0125
/** Upper bound of the interval, in milliseconds. */
const LONGEST_INTERVAL = 1000

/** Asks the control port what was delivered on the connections on which several messages wait, one question for all of them. */
export class Feedback {
  readonly address: ControlPortAddress
  /** What is known of the control port. */
  readonly port: ControlPortState
  readonly #source: FeedbackSource
  readonly #warning: ThrottledWarning
  readonly #vanished: (connection: Connection) => void
  readonly #watched = new Set<Connection>()
  readonly #pause = new Pause()
  /** Whether a connection is watched that was not asked about yet. */
  #fresh = false
  #asking = false
  #closed = false

  /** @param vanished Called for a connection that Mongrel2 does not have any more, though it sent no notice. */
  constructor(source: FeedbackSource, warning: ThrottledWarning, vanished: (connection: Connection) => void) {
    const { address } = source
    this.address = address
    this.port = new ControlPortState(address.named, () => controlPortProblem(address))
    this.#source = source
    this.#warning = warning
    this.#vanished = vanished
    // A response that could prove it should not have to wait until it is reached.
    if (this.port.mayBeProven(performance.now())) void this.#ask()
  }

  /** Asks about a connection until it wants no feedback any more. */
  watch(connection: Connection): void {
    if (!this.#watched.has(connection)) {
      this.#watched.add(connection)
      this.#fresh = true
      this.#pause.end()
    }
    if (!this.#asking) void this.#ask()
  }

  close(): void {
    this.#closed = true
    this.#watched.clear()
    this.#pause.end()
    this.#source.close()
  }

  /** Asks until no connection is watched any more. */
  async #ask(): Promise<void> {
    this.#asking = true
    let interval = INTERVAL_MOVING
    do {
      let least = INTERVAL_MOVING
      if (this.#fresh) interval = INTERVAL_MOVING
      this.#fresh = false
      // One that is watched while the answer is under way may be newer than the answer, and not be in it.
      const asked = [...this.#watched]
      for (const { pacing } of asked) pacing.feedbackAsked?.()
      try {
        const written = await this.#source.bytesWritten()
        this.port.answered(performance.now())
        let moved = false
        least = Math.min(Math.max(least, written.size * INTERVAL_PER_CONNECTION), LONGEST_INTERVAL)
        for (const connection of asked) moved = this.#tell(connection, written.get(connection.id)) || moved
        interval = moved ? INTERVAL_MOVING : Math.min(2 * interval, INTERVAL_STILL)
      } catch (error) {
        if (this.#closed) return
        this.port.failed(performance.now())
        interval = INTERVAL_STILL
        const problem = () =>
          `mongrel2-fetch gets no answer from Mongrel2's control port, and paces by estimate: ${describeError(error)}`
        if (this.address.named) this.#warning.say(problem)
      }
      await Promise.all([delay(least), this.#pause.wait(this.#fresh ? 0 : interval)])
    } while (this.#watched.size > 0)
    this.#asking = false
  }

  /** @returns Whether a message of it was found delivered. */
  #tell(connection: Connection, bytes: number | undefined): boolean {
    const now = performance.now()
    // Another Mongrel2's port says nothing about it.
    if (bytes === undefined && !connection.gone && this.port.proven) this.#vanished(connection)
    const moved = bytes !== undefined && connection.outbox.written(bytes, now)
    if (connection.gone || !connection.pacing.wantsFeedback?.(now)) this.#watched.delete(connection)
    return moved
  }
}
