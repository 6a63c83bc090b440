import type { StoredBody } from '../../connection/carried.ts'
import type { Connection } from '../../connection/connection.ts'
import { type Deferred, deferred, delay } from '../../runtime/promises.ts'
import type { Message } from '../../wire/message.ts'
import { LingerClock } from './linger-clock.ts'
import { emptyUpload, type UploadPlace } from './upload.ts'

/** How often to empty the file of an answered upload, in milliseconds. */
const EMPTY_INTERVAL = 100

/** A body that Mongrel2 stores in a file, until the message that ends it. */
export class StoredUpload implements StoredBody {
  readonly streamed = false
  readonly path: string
  readonly stop: () => void
  readonly #place: UploadPlace
  readonly #connection: Connection
  readonly #ended: Deferred<Message> = deferred()
  readonly #received: () => void
  #phase: 'open' | 'discarded' | 'over' = 'open'

  /** @param received Called when its end comes. */
  constructor(path: string, place: UploadPlace, connection: Connection, received: () => void, stop: () => void) {
    this.path = path
    this.#place = place
    this.#connection = connection
    this.#received = received
    this.stop = stop
  }

  /** Resolves with the message that ends it; never if the client leaves before, when Mongrel2 deletes the file itself. */
  get ended(): Promise<Message> {
    return this.#ended.promise
  }

  receive(message: Message): void {
    this.#phase = 'over'
    this.#received()
    this.#ended.resolve(message)
  }

  lost(): void {
    this.#phase = 'over'
  }

  drain(): void {
    if (this.#phase !== 'open') return
    this.#phase = 'discarded'
    void this.#discard()
  }

  /** Empties the file while the client still sends, which only the file's size shows. */
  async #discard(): Promise<void> {
    const clock = new LingerClock()
    for (let before = 0; this.#phase === 'discarded'; await delay(EMPTY_INTERVAL)) {
      const size = await emptyUpload(this.path, this.#place).catch(() => 0)
      if (size > before) clock.refresh()
      before = this.#place.keep ? size : 0
      if (this.#phase !== 'discarded') return
      if (clock.check(this.#connection.outbox.progress) !== 'going on') this.#connection.closeNow()
    }
  }
}
