import type { StoredBody } from '../../connection/carried.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { describeError, type ThrottledWarning } from '../../runtime/log.ts'
import type { Message } from '../../wire/message.ts'
import type { Exchange } from '../exchange.ts'
import { deleteUpload, openUpload, type Upload, type UploadPlace, uploadHeadersOf } from './upload.ts'

/** What becomes of an upload. */
export interface UploadOutcome {
  /** Its end came: what follows may take a while. */
  ended(work: Promise<void>): void
  /** Its file is complete and open: whoever is told releases it. */
  complete(message: Message, upload: Upload): Promise<void>
  /** It is refused with this status and text. */
  refuse(status: number, reason: string): void
  /** Its headers cannot be Mongrel2's. */
  refuseForged(message: Message, reason: string): void
}

/** An upload that Mongrel2 has begun to store: its exchange is open, its handler not called. */
export class PendingUpload implements StoredBody {
  readonly streamed = false
  readonly #path: string
  readonly #exchange: Exchange
  /** Whether `onUploadStart` lets it go on. */
  readonly #accepted: Promise<boolean>
  readonly #place: UploadPlace
  readonly #outcome: UploadOutcome
  readonly #warning: ThrottledWarning

  constructor(
    path: string,
    exchange: Exchange,
    accepted: Promise<boolean>,
    place: UploadPlace,
    outcome: UploadOutcome,
    warning: ThrottledWarning,
  ) {
    this.#path = path
    this.#exchange = exchange
    this.#accepted = accepted
    this.#place = place
    this.#outcome = outcome
    this.#warning = warning
  }

  receive(message: Message): void {
    this.#outcome.ended(this.#finish(message))
  }

  refuse(status: number, reason: string): void {
    this.#outcome.refuse(status, reason)
  }

  /** Mongrel2 deletes the file itself when the client leaves before the end. */
  lost(): void {}

  /** Mongrel2 stores one body of a connection at a time, so the next message has to be this one's end. */
  async #finish(message: Message): Promise<void> {
    const headers = uploadHeadersOf(message, message.body.length === 0)
    if (headers.stage !== 'done' || headers.path !== this.#path) {
      return this.#outcome.refuseForged(message, `expected the end of ${this.#path}`)
    }
    if (!(await this.#accepted) || this.#exchange.aborted) return await deleteUpload(this.#path, this.#place)
    const upload = await this.#open()
    if (upload === undefined) return
    if (this.#exchange.aborted) await upload.release()
    else await this.#outcome.complete(message, upload)
  }

  /** Opens the file, or answers for it. */
  async #open(): Promise<Upload | undefined> {
    try {
      const upload = await openUpload(this.#path, this.#place)
      if (typeof upload !== 'string') return upload
      this.#warning.say(() => `mongrel2-fetch refused an upload: ${upload}`)
      this.#outcome.refuse(400, 'The upload is no file')
    } catch (error) {
      this.#warning.say(
        () => `mongrel2-fetch answered 500: ${error instanceof Mongrel2Error ? error.message : describeError(error)}`,
      )
      this.#outcome.refuse(500, 'The upload cannot be read')
      await deleteUpload(this.#path, this.#place)
    }
    return undefined
  }
}
