import { Mongrel2Error } from '../errors.ts'
import type { Message } from '../wire/message.ts'
import type { StreamedBody } from './connection.ts'

/** What a streamed upload needs of its surroundings. */
export interface StreamUploadOwner {
  /** Lets Mongrel2 send so many bytes more. */
  credit(bytes: number): void
  /** The body is complete. */
  completed(): void
  /** The body cannot be completed: its parts do not fit together, or it is too large. */
  failed(status: number, reason: string): void
  /** Nobody wants what is left of the body, and it is more than is thrown away for the sake of the connection. */
  abandoned(): void
}

/** Bytes that are read and thrown away of a body that nobody wants, so that the connection can be used again. */
const DRAIN_LIMIT = 1024 * 1024
/** How long that may take, in milliseconds. */
const DRAIN_TIME = 500

/**
 * A body that Mongrel2 sends as it comes (`upload.stream`), in parts that follow the request's message. Mongrel2 sends as many
 * bytes as it has credits for; more are given as the stream is read, so that a slow reader slows its client.
 *
 * The first part comes with the request and takes no credit. A client's chunk comes whole, so the last one may overdraw.
 */
export class StreamUpload implements StreamedBody {
  readonly streamed = true
  readonly #window: number
  readonly #length: number | undefined
  readonly #maxSize: number
  readonly #owner: StreamUploadOwner
  readonly #parts: Buffer[] = []
  #waiting = 0
  /** Where the next part begins. */
  #offset = 0
  /** Bytes that Mongrel2 may send; negative when a chunk overdrew. */
  #credit = 0
  #complete = false
  #discarding = false
  #drained = 0
  #error: Error | undefined
  #wanted: (() => void) | undefined
  #deadline: NodeJS.Timeout | undefined

  /**
   * @param window Bytes that may be on their way to the reader, in Mongrel2's credit and here.
   * @param length The Content-Length; undefined for chunks.
   * @param maxSize Bytes that the body may have.
   */
  constructor(window: number, length: number | undefined, maxSize: number, owner: StreamUploadOwner) {
    this.#window = window
    this.#length = length
    this.#maxSize = maxSize
    this.#owner = owner
  }

  /** The body as it is read. No byte stream: that would take the memory of a part away from what else came with it. */
  stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          this.#replenish()
          while (this.#parts.length === 0 && !this.#complete && this.#error === undefined) await this.#news()
          const part = this.#parts.shift()
          if (part !== undefined) {
            this.#waiting -= part.length
            controller.enqueue(part)
          } else if (this.#error !== undefined) throw this.#error
          else controller.close()
        },
        cancel: () => this.#discard(),
      },
      { highWaterMark: 0 },
    )
  }

  receive(message: Message): void {
    const { headers, body } = message
    // Mongrel2 counts in a C int, which 2 GiB in chunks make negative.
    if (headers.own('UPLOAD_STREAM') !== String(this.#offset | 0)) {
      return this.#fail(
        400,
        `expected the part of an upload at ${this.#offset | 0}, got ${headers.own('UPLOAD_STREAM')}`,
      )
    }
    if (headers.own('METHOD') === undefined) this.#credit -= body.length
    this.#offset += body.length
    if (this.#discarding) this.#drained += body.length
    else if (this.#offset > this.#maxSize) return this.#fail(413, `Bodies may have ${this.#maxSize} bytes`)
    else if (body.length > 0) {
      this.#parts.push(body)
      this.#waiting += body.length
    }
    if (headers.own('UPLOAD_STREAM_DONE') !== undefined) this.#finish()
    else if (this.#discarding) this.#drainMore()
    this.#wanted?.()
  }

  /**
   * Nobody has a right to it any more, since its response is complete: what is left is thrown away, up to 1 MiB and for half a
   * second, so that the connection can be used again.
   */
  drain(): void {
    if (this.#complete || this.#deadline !== undefined) return
    this.lost(new Mongrel2Error('upload_unavailable', 'expected the body to be read before the response was complete'))
    this.#deadline = setTimeout(() => this.#owner.abandoned(), DRAIN_TIME)
    this.#discard()
  }

  drainFurther(): void {
    this.#discard()
    this.#replenish()
  }

  lost(reason: Error): void {
    if (this.#complete) return
    clearTimeout(this.#deadline)
    this.#error ??= reason
    this.#wanted?.()
  }

  refuse(status: number, reason: string): void {
    this.#fail(status, reason)
  }

  #fail(status: number, reason: string): void {
    this.lost(new Mongrel2Error('upload_unavailable', reason))
    this.#owner.failed(status, reason)
  }

  #finish(): void {
    if (this.#length !== undefined && this.#length !== this.#offset) {
      return this.#fail(400, `expected ${this.#length} bytes of body, got ${this.#offset}`)
    }
    this.#complete = true
    clearTimeout(this.#deadline)
    this.#owner.completed()
  }

  #discard(): void {
    if (this.#discarding) return
    this.#discarding = true
    this.#parts.length = 0
    this.#waiting = 0
    if (!this.#complete) this.#drainMore()
  }

  #drainMore(): void {
    if (this.#drained < DRAIN_LIMIT) this.#replenish()
    else if (this.#deadline !== undefined) this.#owner.abandoned()
  }

  /** Gives credit in halves of the window, so that a part of 20 KiB does not bring a reply each. */
  #replenish(): void {
    if (this.#complete || (this.#error !== undefined && !this.#discarding)) return
    const room = this.#window - this.#waiting - this.#credit
    if (room < this.#window / 2) return
    this.#credit += room
    this.#owner.credit(room)
  }

  #news(): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = resolve
    })
  }
}
