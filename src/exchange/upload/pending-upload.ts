import type { StoredBody } from '../../connection/carried.ts'
import type { WriteProgress } from '../../connection/outbox.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { describeError, type ThrottledWarning } from '../../runtime/log.ts'
import { delay } from '../../runtime/promises.ts'
import type { Message } from '../../wire/message.ts'
import type { Exchange } from '../exchange.ts'
import { LingerClock } from './linger-clock.ts'
import { deleteUpload, emptyUpload, openUpload, type Upload, type UploadPlace, uploadHeadersOf } from './upload.ts'

/** How often the file of an upload that was answered is emptied, in milliseconds. */
const EMPTY_INTERVAL = 100

/** What an upload needs of its surroundings. */
export interface PendingUploadOwner {
  /** Its end came: what follows may take a while. */
  ended(work: Promise<void>): void
  /** Its file is complete and open: whoever is told releases it. */
  complete(message: Message, upload: Upload): Promise<void>
  /** It is refused with this status and text. */
  refuse(status: number, reason: string): void
  /** Its headers cannot be Mongrel2's. */
  refuseForged(message: Message, reason: string): void
  /** How far the answer has come. */
  readonly answer: WriteProgress
  /** The client has had its time to stop sending: the connection ends now. */
  expired(): void
}

/** An upload that Mongrel2 has begun to store: its exchange is open, its handler not called. */
export class PendingUpload implements StoredBody {
  readonly streamed = false
  /** Whether `onUploadStart` lets it go on. */
  accepted: Promise<boolean> = Promise.resolve(true)
  readonly #path: string
  readonly #exchange: Exchange
  readonly #place: UploadPlace
  readonly #owner: PendingUploadOwner
  readonly #warning: ThrottledWarning
  #phase: 'open' | 'discarded' | 'over' = 'open'

  constructor(
    path: string,
    exchange: Exchange,
    place: UploadPlace,
    owner: PendingUploadOwner,
    warning: ThrottledWarning,
  ) {
    this.#path = path
    this.#exchange = exchange
    this.#place = place
    this.#owner = owner
    this.#warning = warning
  }

  receive(message: Message): void {
    this.#phase = 'over'
    this.#owner.ended(this.#finish(message))
  }

  refuse(status: number, reason: string): void {
    this.#owner.refuse(status, reason)
  }

  drain(): void {
    if (this.#phase !== 'open') return
    this.#phase = 'discarded'
    void this.#discard()
  }

  /** Mongrel2 deletes the file itself when the client leaves before the end. */
  lost(): void {
    this.#phase = 'over'
  }

  /** The file tells whether the client still sends: Mongrel2 says nothing before the end. */
  async #discard(): Promise<void> {
    const clock = new LingerClock()
    for (let before = 0; this.#phase === 'discarded'; await delay(EMPTY_INTERVAL)) {
      const size = await emptyUpload(this.#path, this.#place).catch(() => 0)
      if (size > before) clock.heard()
      before = this.#place.keep ? size : 0
      if (this.#phase === 'discarded' && clock.check(this.#owner.answer) !== 'going on') this.#owner.expired()
    }
  }

  /** Mongrel2 stores one body of a connection at a time, so the next message has to be this one's end. */
  async #finish(message: Message): Promise<void> {
    const headers = uploadHeadersOf(message, message.body.length === 0)
    if (headers.stage !== 'done' || headers.path !== this.#path) {
      return this.#owner.refuseForged(message, `expected the end of ${this.#path}`)
    }
    if (!(await this.accepted) || !this.#exchange.unanswered) return await deleteUpload(this.#path, this.#place)
    const upload = await this.#open()
    if (upload === undefined) return
    if (this.#exchange.aborted) await upload.release()
    else await this.#owner.complete(message, upload)
  }

  /** Opens the file, or answers for it. */
  async #open(): Promise<Upload | undefined> {
    try {
      const upload = await openUpload(this.#path, this.#place)
      if (typeof upload !== 'string') return upload
      this.#warning.say(() => `mongrel2-fetch refused an upload: ${upload}`)
      this.#owner.refuse(400, 'The upload is no file')
    } catch (error) {
      this.#warning.say(
        () => `mongrel2-fetch answered 500: ${error instanceof Mongrel2Error ? error.message : describeError(error)}`,
      )
      this.#owner.refuse(500, 'The upload cannot be read')
      await deleteUpload(this.#path, this.#place)
    }
    return undefined
  }
}
