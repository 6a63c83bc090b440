import type { StreamedBody } from '../../connection/carried.ts'
import type { Connection } from '../../connection/connection.ts'
import type { Outbox } from '../../connection/outbox.ts'
import { badRequest, bodyTimedOut, partTooLarge, type Refusal, stopping, tooLarge } from '../../platform/outcomes.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import type { Message } from '../../wire/message.ts'
import type { Settings } from '../options.ts'
import { LingerClock } from './linger-clock.ts'

interface UploadConnection
  extends Pick<Connection, 'single' | 'grant' | 'endUpload' | 'closeAfterUpload' | 'closeNow'> {
  readonly outbox: Pick<Outbox, 'progress'>
}

type StreamUploadSettings = Pick<Settings, 'uploadWindow' | 'maxBodySize' | 'bodyTimeout'>

/** Missing bytes up to which the rest of a body of known length is read, so that the connection can be used again. */
const DRAIN_LIMIT = 1024 * 1024
/** Time after the head of a streamed answer for its handler to start reading, in milliseconds; then the body is discarded. */
const LATE_READER = 500
/** How often to check whether a client that has its answer still sends, in milliseconds. */
const LINGER_CHECK = 1000
/** The window at first, in bytes, where `uploadWindow` is larger. */
const FIRST_WINDOW = 256 * 1024
/** Credit for a discarded body, in bytes, where the window is smaller and would be slow. */
const DISCARD_WINDOW = 256 * 1024
/** More bytes than Mongrel2 holds of a body that it has not sent: `limits.content_length`, 20 KiB by default. */
const BUFFER_LIMIT = 1024 * 1024

/**
 * A body that Mongrel2 sends as it arrives (`upload.stream`), in parts after the request's message. Mongrel2 sends as many bytes as it has credits
 * for, which are granted as the stream is read, so that a slow reader slows its client. The first part comes with the request and takes no credit.
 * A client's chunk comes whole, so the last one may overdraw.
 */
export class StreamUpload implements StreamedBody {
  readonly streamed = true
  readonly #settings: StreamUploadSettings
  readonly #length: number | undefined
  readonly #connection: UploadConnection
  readonly #failed: (refusal: Refusal) => void
  readonly #parts: Buffer[] = []
  /** `over` when no more comes: the body is complete, or the connection ends. */
  #phase: 'open' | 'discarded' | 'over' = 'open'
  #stream: ReadableStream<Uint8Array> | undefined
  #waiting = 0
  /** The position of the next part. */
  #offset = 0
  /** Bytes that may wait here or be on their way. */
  #window: number
  /** Bytes that Mongrel2 may send; negative after a chunk that overdrew. */
  #credit = 0
  #error: Error | undefined
  #wanted: (() => void) | undefined
  #lateReader: NodeJS.Timeout | undefined
  #lingering: NodeJS.Timeout | undefined
  /** Runs from the end of the answer on. */
  #clock: LingerClock | undefined
  whenSettled: (() => void) | undefined
  /** Runs while the reader waits for the client. */
  #partTimer: NodeJS.Timeout | undefined
  /** Whether no more credit is given, so that the connection can be reset. */
  #dry = false

  /** `length` is the Content-Length, undefined for chunks; `failed` is called when the body cannot be completed. */
  constructor(
    settings: StreamUploadSettings,
    length: number | undefined,
    connection: UploadConnection,
    failed: (refusal: Refusal) => void,
  ) {
    this.#settings = settings
    this.#window = Math.min(FIRST_WINDOW, settings.uploadWindow)
    this.#length = length
    this.#connection = connection
    this.#failed = failed
  }

  get received(): number {
    return this.#offset
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

  /** The body as a stream. It is no byte stream, which would transfer memory that a part shares with other messages. */
  stream(): ReadableStream<Uint8Array> {
    this.#stream = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          this.#replenish()
          while (this.#parts.length === 0 && !this.over && this.#error === undefined) {
            await new Promise<void>((resolve) => {
              this.#wanted = resolve
            })
          }
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
    if (message.kind === 'part') this.#credit -= body.length
    const at = this.#offset | 0 // Mongrel2 counts in a C int, which overflows at 2 GiB of chunks.
    this.#offset += body.length
    const last = headers.own('UPLOAD_STREAM_DONE') !== undefined
    if (this.#phase === 'discarded') this.#clock?.refresh()
    else if (headers.own('UPLOAD_STREAM') !== String(at)) {
      this.#fail(badRequest(`expected the part of an upload at ${at}, got ${headers.own('UPLOAD_STREAM')}`))
    } else if (cut) this.#fail(partTooLarge())
    else if (this.#offset > this.#settings.maxBodySize) this.#fail(tooLarge(this.#settings.maxBodySize))
    else if (last && this.#length !== undefined && this.#length !== this.#offset) {
      this.#fail(badRequest(`expected ${this.#length} bytes of body, got ${this.#offset}`))
    } else if (body.length > 0) {
      this.#parts.push(body)
      this.#waiting += body.length
    }
    if (last) {
      this.#end()
      this.#connection.endUpload()
    } else if (this.#dry && this.resettable) this.#connection.closeNow()
    else if (this.#phase === 'discarded') this.#replenish()
    this.#partTimer?.refresh()
    this.#expectPart()
    this.#wanted?.()
  }

  expectReader(): void {
    this.#lateReader ??= setTimeout(() => {
      if (!this.read) this.#abandon(unread('soon after the head of the response'))
    }, LATE_READER).unref()
  }

  drain(reason: Error = unread('before the response was complete')): void {
    if (this.over || this.#lingering !== undefined) return
    if (this.#connection.single) {
      // The gateway discards the rest itself.
      this.#break(reason)
      return this.#connection.closeNow()
    }
    if (!this.drainable) this.#connection.closeAfterUpload()
    this.#clock = new LingerClock()
    this.#lingering = setInterval(() => this.#linger(), LINGER_CHECK).unref()
    this.#abandon(reason)
  }

  lost(reason: Error): void {
    if (this.over) return
    this.#end()
    this.#break(reason)
  }

  stop(): void {
    this.#fail(stopping())
  }

  get #missing(): number | undefined {
    return this.#length === undefined ? undefined : this.#length - this.#offset
  }

  #fail(refusal: Refusal): void {
    this.#abandon(new Mongrel2Error('upload_unavailable', refusal.reason))
    this.#failed(refusal)
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

  /** Errors the stream, and discards the rest of the body. */
  #abandon(reason: Error): void {
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

  /** No reader waits for the client any more. */
  #settle(): void {
    clearTimeout(this.#partTimer)
    this.whenSettled?.()
    this.whenSettled = undefined
  }

  /** Runs the timeout of the next part while the reader waits for it. */
  #expectPart(): void {
    if (this.#settings.bodyTimeout === 0) return
    if (!this.awaited) {
      clearTimeout(this.#partTimer)
      this.#partTimer = undefined
    } else this.#partTimer ??= setTimeout(() => this.#fail(bodyTimedOut()), this.#settings.bodyTimeout).unref()
  }

  /** Closes the connection of a client that has stopped sending or does not stop. */
  #linger(): void {
    const state = this.#clock?.check(this.#connection.outbox.progress)
    if (this.#dry || state === 'quiet') this.#connection.closeNow()
    else if (state === 'late') this.#dry = true
  }

  /** Grants credit in halves of the window, so that not every part of 20 KiB brings a reply. */
  #replenish(): void {
    const discarded = this.#phase === 'discarded'
    if (this.over || this.#dry || (this.#error !== undefined && !discarded)) return
    if (!discarded) this.#widen()
    const window = discarded ? Math.max(this.#window, DISCARD_WINDOW) : this.#window
    const room = window - this.#waiting - this.#credit
    if (room < window / 2) return
    this.#credit += room
    this.#connection.grant(room)
    this.#expectPart()
  }

  /** Doubles the window once a reader has kept up with a whole one: each grant wakes Mongrel2, so fewer are quicker. */
  #widen(): void {
    if (this.#offset < this.#window || this.#waiting > this.#window / 4) return
    this.#window = Math.min(2 * this.#window, this.#settings.uploadWindow)
  }
}

/** @param when When it should have been read. */
function unread(when: string): Mongrel2Error {
  return new Mongrel2Error('upload_unavailable', `expected the body to be read ${when}`)
}
