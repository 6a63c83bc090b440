import type { StreamedBody } from '../../connection/carried.ts'
import type { WriteProgress } from '../../connection/outbox.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import type { Message } from '../../wire/message.ts'
import { LingerClock } from './linger-clock.ts'

/** What a streamed upload needs of its surroundings. */
export interface StreamUploadOwner {
  /** Lets Mongrel2 send so many bytes more. */
  credit(bytes: number): void
  /** The body is complete. */
  completed(): void
  /** The body cannot be completed: its parts do not fit together, or it is too large. */
  failed(status: number, reason: string): void
  /** How far the answer has come. */
  readonly answer: WriteProgress
  /** Whether a gateway is at the other end: it throws away what is left of a body by itself when the connection is closed. */
  readonly gateway: boolean
  /** More is missing than is thrown away for the sake of the next request: the connection ends behind the body. */
  lingers(): void
  /** The client has had its time to stop sending: the connection ends now. */
  expired(): void
}

/** A body of known length of which no more than so many bytes are missing is read to its end, so that the connection can be used again. */
const DRAIN_LIMIT = 1024 * 1024
/** How long after the head of a streamed answer its handler may begin to read, in milliseconds: then the body is thrown away. */
const LATE_READER = 500
/** How often it is looked whether a client that has its answer still sends, in milliseconds. */
const LINGER_CHECK = 1000
/** Bytes that Mongrel2 may send of what is thrown away until more are granted; `uploadWindow` may be too small to be quick. */
const DISCARD_WINDOW = 256 * 1024
/** More than Mongrel2 holds of a body that it has not sent: `limits.content_length`, 20 KiB by default. */
const BUFFER_LIMIT = 1024 * 1024

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
  /** `over` when nothing more comes: it is complete, or the connection ends. */
  #phase: 'open' | 'discarded' | 'over' = 'open'
  #stream: ReadableStream<Uint8Array> | undefined
  #waiting = 0
  /** Where the next part begins. */
  #offset = 0
  /** Bytes that Mongrel2 may send; negative when a chunk overdrew. */
  #credit = 0
  #error: Error | undefined
  #wanted: (() => void) | undefined
  #lateReader: NodeJS.Timeout | undefined
  #lingering: NodeJS.Timeout | undefined
  /** Runs from the end of the answer on. */
  #clock: LingerClock | undefined
  whenSettled: (() => void) | undefined
  readonly #timeout: number
  /** Runs while the reader waits for the client. */
  #partTimer: NodeJS.Timeout | undefined
  /** Whether no more credit is given, so that the connection can be reset. */
  #dry = false

  /**
   * @param window Bytes that may be on their way to the reader, in Mongrel2's credit and here.
   * @param length The Content-Length; undefined for chunks.
   * @param maxSize Bytes that the body may have.
   * @param timeout Milliseconds that the client may take between two parts; 0 is no limit.
   */
  constructor(window: number, length: number | undefined, maxSize: number, timeout: number, owner: StreamUploadOwner) {
    this.#timeout = timeout
    this.#window = window
    this.#length = length
    this.#maxSize = maxSize
    this.#owner = owner
  }

  get over(): boolean {
    return this.#phase === 'over'
  }

  get read(): boolean {
    return this.#phase === 'open' && this.#error === undefined && this.#stream?.locked === true
  }

  get awaited(): boolean {
    return this.#phase === 'open' && this.#error === undefined && this.#credit > 0
  }

  get drainable(): boolean {
    return this.#missing !== undefined && this.#missing <= DRAIN_LIMIT
  }

  get resettable(): boolean {
    return this.#credit <= 0 && this.#missing !== undefined && this.#missing > BUFFER_LIMIT
  }

  /** The body as it is read. No byte stream: that would take the memory of a part away from what else came with it. */
  stream(): ReadableStream<Uint8Array> {
    this.#stream = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          this.#replenish()
          while (this.#parts.length === 0 && !this.over && this.#error === undefined) await this.#news()
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
    return this.#stream
  }

  receive(message: Message): void {
    const { headers, body, cut } = message
    if (headers.own('METHOD') === undefined) this.#credit -= body.length
    const at = this.#offset | 0 // Mongrel2 counts in a C int, which 2 GiB in chunks make negative.
    this.#offset += body.length
    const last = headers.own('UPLOAD_STREAM_DONE') !== undefined
    if (this.#phase === 'discarded') this.#clock?.heard()
    else if (headers.own('UPLOAD_STREAM') !== String(at)) {
      this.#fail(400, `expected the part of an upload at ${at}, got ${headers.own('UPLOAD_STREAM')}`)
    } else if (cut) this.#fail(413, 'A part of the body is longer than maxMessageSize')
    else if (this.#offset > this.#maxSize) this.#fail(413, `Bodies may have ${this.#maxSize} bytes`)
    else if (last && this.#length !== undefined && this.#length !== this.#offset) {
      this.#fail(400, `expected ${this.#length} bytes of body, got ${this.#offset}`)
    } else if (body.length > 0) {
      this.#parts.push(body)
      this.#waiting += body.length
    }
    if (last) {
      this.#end()
      this.#owner.completed()
    } else if (this.#dry && this.resettable) this.#owner.expired()
    else if (this.#phase === 'discarded') this.#replenish()
    this.#partTimer?.refresh()
    this.#expectPart()
    this.#wanted?.()
  }

  expectReader(): void {
    this.#lateReader ??= setTimeout(() => {
      if (!this.read) this.#forfeit(unread('soon after the head of the response'))
    }, LATE_READER).unref()
  }

  drain(reason: Error = unread('before the response was complete')): void {
    if (this.over || this.#lingering !== undefined) return
    if (this.#owner.gateway) {
      this.#break(reason)
      return this.#owner.expired()
    }
    if (!this.drainable) this.#owner.lingers()
    this.#clock = new LingerClock()
    this.#lingering = setInterval(() => this.#linger(), LINGER_CHECK).unref()
    this.#forfeit(reason)
  }

  lost(reason: Error): void {
    if (this.over) return
    this.#end()
    this.#break(reason)
  }

  refuse(status: number, reason: string): void {
    this.#fail(status, reason)
  }

  get #missing(): number | undefined {
    return this.#length === undefined ? undefined : this.#length - this.#offset
  }

  #fail(status: number, reason: string): void {
    this.#forfeit(new Mongrel2Error('upload_unavailable', reason))
    this.#owner.failed(status, reason)
  }

  #end(): void {
    this.#phase = 'over'
    clearTimeout(this.#lateReader)
    clearInterval(this.#lingering)
    this.#settle()
  }

  /** Errors the stream. */
  #break(reason: Error): void {
    this.#error ??= reason
    this.#wanted?.()
  }

  /** Errors the stream, and throws away what still comes. */
  #forfeit(reason: Error): void {
    this.#break(reason)
    this.#discard()
  }

  #discard(): void {
    if (this.#phase !== 'open') return
    this.#phase = 'discarded'
    this.#settle()
    this.#parts.length = 0
    this.#waiting = 0
    this.#replenish()
  }

  /** Nobody waits for the client any more. */
  #settle(): void {
    clearTimeout(this.#partTimer)
    this.whenSettled?.()
    this.whenSettled = undefined
  }

  /** Gives the client its time for the next part, while its reader waits for that. */
  #expectPart(): void {
    if (this.#timeout === 0) return
    if (!this.awaited) {
      clearTimeout(this.#partTimer)
      this.#partTimer = undefined
    } else this.#partTimer ??= setTimeout(() => this.#fail(408, 'The body did not come in time'), this.#timeout).unref()
  }

  /** Ends the connection of a client that has stopped sending without a close, or does not stop. */
  #linger(): void {
    const state = this.#clock?.check(this.#owner.answer)
    if (this.#dry || state === 'quiet') this.#owner.expired()
    else if (state === 'late') this.#dry = true
  }

  /** Gives credit in halves of the window, so that a part of 20 KiB does not bring a reply each. */
  #replenish(): void {
    const discarded = this.#phase === 'discarded'
    if (this.over || this.#dry || (this.#error !== undefined && !discarded)) return
    const window = discarded ? Math.max(this.#window, DISCARD_WINDOW) : this.#window
    const room = window - this.#waiting - this.#credit
    if (room < window / 2) return
    this.#credit += room
    this.#owner.credit(room)
    this.#expectPart()
  }

  #news(): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = resolve
    })
  }
}

/** @param when When it should have been read. */
function unread(when: string): Mongrel2Error {
  return new Mongrel2Error('upload_unavailable', `expected the body to be read ${when}`)
}
