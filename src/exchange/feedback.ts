import { delay } from '../deferred.ts'
import { describeError, type ThrottledWarning } from '../log.ts'
import type { Connection } from './connection.ts'

/** Who knows how many bytes Mongrel2 has written: its control port. */
export interface FeedbackSource {
  /** Bytes written to each connection that is open, by its number. */
  bytesWritten(): Promise<Map<number, number>>
  close(): void
}

/** Milliseconds between two questions while something moves; twice as many each time that nothing did, up to the other. */
const INTERVAL_MOVING = 1
const INTERVAL_STILL = 250
/**
 * A question costs Mongrel2 some 1.25 µs for every connection it has, and it may spend a tenth of its time on answers: milliseconds for
 * each connection. How long an answer takes says nothing: Mongrel2 answers when it has delivered what is there.
 */
const INTERVAL_PER_CONNECTION = 0.0125
/** However many there are. */
const LONGEST_INTERVAL = 1000

/** Asks what became of the messages of connections for which several wait, one question for all of them. */
export class Feedback {
  readonly #source: FeedbackSource
  readonly #warning: ThrottledWarning
  readonly #vanished: (connection: Connection) => void
  readonly #watched = new Set<Connection>()
  #asking = false
  #closed = false

  /** @param vanished Called for a connection that Mongrel2 does not have any more, though it sent no notice. */
  constructor(source: FeedbackSource, warning: ThrottledWarning, vanished: (connection: Connection) => void) {
    this.#source = source
    this.#warning = warning
    this.#vanished = vanished
  }

  /** Asks about a connection until it wants no feedback any more. */
  watch(connection: Connection): void {
    this.#watched.add(connection)
    if (this.#asking) return
    this.#asking = true
    void this.#ask().finally(() => {
      this.#asking = false
    })
  }

  close(): void {
    this.#closed = true
    this.#watched.clear()
    this.#source.close()
  }

  async #ask(): Promise<void> {
    let pause = INTERVAL_MOVING
    while (this.#watched.size > 0) {
      let connections = 0
      // One that comes up while the answer is under way may be newer than the answer, and is not in it.
      const asked = [...this.#watched]
      try {
        const written = await this.#source.bytesWritten()
        let moved = false
        connections = written.size
        for (const connection of asked) moved = this.#tell(connection, written.get(connection.id)) || moved
        pause = moved ? INTERVAL_MOVING : Math.min(2 * pause, INTERVAL_STILL)
      } catch (error) {
        if (this.#closed) return
        pause = INTERVAL_STILL
        this.#warning.say(
          () =>
            `mongrel2-fetch gets no answer from Mongrel2's control port, and paces by estimate: ${describeError(error)}`,
        )
      }
      await delay(Math.min(Math.max(pause, connections * INTERVAL_PER_CONNECTION), LONGEST_INTERVAL))
    }
  }

  /** @returns Whether a message of it was found delivered. */
  #tell(connection: Connection, bytes: number | undefined): boolean {
    const now = performance.now()
    if (bytes === undefined && !connection.gone) this.#vanished(connection)
    const moved = bytes !== undefined && connection.written(bytes, now)
    if (connection.gone || !connection.pacing.wantsFeedback(now)) this.#watched.delete(connection)
    return moved
  }
}
