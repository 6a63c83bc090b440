import { type Budget, fits, type Member, type SharedMessage } from '../connection/shared-message.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import type { StreamFormat } from './options.ts'

/** A client's connection, to which events are written instead of a reader of the body. */
export interface EventSink {
  /** Writes bytes that other clients get too. */
  writeShared(bytes: Uint8Array): void
  /** Bytes that are not delivered, as far as can be known. */
  undelivered(now: number): number
}

/** `slow`: the client was too slow. */
type EventStreamEnd = 'ended' | 'slow'

/** Event streams by the bodies of their responses. */
const streams = new WeakMap<ReadableStream, EventStream>()

/** The event stream of a response's body; undefined for another body, and for one that has a reader. */
export function eventStreamOf(body: ReadableStream): EventStream | undefined {
  const stream = streams.get(body)
  return stream?.untouched === true ? stream : undefined
}

/**
 * A client that gets messages as events, or as they are. Its body is a stream, but messages go straight to the connection: all clients get
 * the same bytes.
 */
export class EventStream implements Member {
  readonly body: ReadableStream<Uint8Array>
  /** Called when it ends. */
  whenEnded: (() => void) | undefined
  readonly #format: StreamFormat
  /** Messages that came before there was a reader or a sink. */
  #early: SharedMessage[] = []
  #earlyBytes = 0
  #sink: EventSink | undefined
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #end: EventStreamEnd | undefined
  #written: Deferred<EventStreamEnd> | undefined

  constructor(format: StreamFormat) {
    this.#format = format
    this.body = new ReadableStream<Uint8Array>(
      { pull: (controller) => this.#beRead(controller), cancel: () => this.end() },
      { highWaterMark: 0, size: ({ length }) => length },
    )
    streams.set(this.body, this)
  }

  /** Whether it has neither a reader nor a sink. */
  get untouched(): boolean {
    return this.#sink === undefined && this.#controller === undefined && !this.body.locked
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  deliver(message: SharedMessage, { maxBufferedBytes, whenSlow }: Budget, now: number): void {
    const { length } = this.#bytesOf(message)
    // A chunk of no bytes would end the body.
    if (this.ended || length === 0) return
    if (!fits(length, this.#waiting(now), maxBufferedBytes)) {
      if (whenSlow === 'close') this.end('slow')
    } else if (this.#sink !== undefined) this.#sink.writeShared(this.#chunkOf(message))
    else if (this.#controller !== undefined) this.#controller.enqueue(Uint8Array.from(this.#bytesOf(message)))
    else {
      this.#early.push(message)
      this.#earlyBytes += length
    }
  }

  /** Writes the messages to a connection, as chunks. Resolves when the stream ends. */
  async writeTo(sink: EventSink): Promise<EventStreamEnd> {
    this.#sink = sink
    for (const message of this.#takeEarly()) sink.writeShared(this.#chunkOf(message))
    if (this.#end !== undefined) return this.#end
    this.#written = deferred()
    return await this.#written.promise
  }

  /** Ends the stream after the events that were sent. */
  end(how: EventStreamEnd = 'ended'): void {
    if (this.ended) return
    this.#end = how
    this.#written?.resolve(how)
    this.#close()
    this.whenEnded?.()
  }

  /** The events are not wanted any more. */
  async cancel(): Promise<void> {
    this.end()
  }

  #waiting(now: number): number {
    if (this.#sink !== undefined) return this.#sink.undelivered(now)
    return this.#controller === undefined ? this.#earlyBytes : -(this.#controller.desiredSize ?? 0)
  }

  #beRead(controller: ReadableStreamDefaultController<Uint8Array>): void {
    if (this.#controller !== undefined) return
    this.#controller = controller
    if (this.#sink !== undefined) return controller.close()
    for (const message of this.#takeEarly()) controller.enqueue(Uint8Array.from(this.#bytesOf(message)))
    if (this.ended) this.#close()
  }

  #close(): void {
    try {
      this.#controller?.close()
    } catch {} // the body was cancelled
  }

  #bytesOf(message: SharedMessage): Buffer {
    return this.#format === 'bytes' ? message.payload : message.event
  }

  #chunkOf(message: SharedMessage): Buffer {
    return this.#format === 'bytes' ? message.payloadChunk : message.chunk
  }

  #takeEarly(): SharedMessage[] {
    const early = this.#early
    this.#early = []
    this.#earlyBytes = 0
    return early
  }
}
