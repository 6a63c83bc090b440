import { type Budget, fits, type Member, type SharedMessage } from '../connection/shared-message.ts'
import { LazyBody, plainResponseOf } from '../platform/light-response.ts'
import { LAST_CHUNK } from '../wire/http.ts'
import type { StreamFormat } from './options.ts'

/** A client's connection, to which events are written instead of a reader of the body. */
export interface EventSink {
  /** Writes bytes that other clients get too. */
  writeShared(bytes: Uint8Array): void
  /** Bytes that are not delivered, as far as can be known. */
  undelivered(now: number): number
  /** The body is written. Called once; may be called while a topic sends. */
  eventsEnded(how: EventStreamEnd): void
}

/** `slow`: the client was too slow. */
export type EventStreamEnd = 'ended' | 'slow'

/** Event streams by the platform's streams that were made of them. */
const streams = new WeakMap<ReadableStream, EventStream>()

/** The event stream that is the body of a response; undefined for another body, and for one that has a reader. */
export function eventStreamOf(response: Response): EventStream | undefined {
  const plain = plainResponseOf(response)?.body
  const { body } = plain === undefined ? response : { body: null }
  const stream = plain instanceof EventStream ? plain : body === null || body.locked ? undefined : streams.get(body)
  return stream?.untouched === true ? stream : undefined
}

/**
 * A client that gets messages as events, or as they are. Messages go straight to the connection, since all clients get the same bytes; a stream
 * is made only for those who read the body themselves.
 */
export class EventStream extends LazyBody implements Member {
  /** Called when it ends. */
  whenEnded: (() => void) | undefined
  readonly #format: StreamFormat
  /** Messages that came before there was a reader or a sink. */
  #early: SharedMessage[] | undefined
  #earlyBytes = 0
  #sink: EventSink | undefined
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #end: EventStreamEnd | undefined

  constructor(format: StreamFormat) {
    super()
    this.#format = format
  }

  /** Whether it has neither a reader nor a sink. */
  get untouched(): boolean {
    return this.#sink === undefined && this.#controller === undefined
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  openStream(): ReadableStream<Uint8Array> {
    const stream = new ReadableStream<Uint8Array>(
      { pull: (controller) => this.#beRead(controller), cancel: () => this.end() },
      { highWaterMark: 0, size: ({ length }) => length },
    )
    streams.set(stream, this)
    return stream
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
      this.#early ??= []
      this.#early.push(message)
      this.#earlyBytes += length
    }
  }

  /** Writes the messages to a connection, as chunks. */
  writeTo(sink: EventSink): void {
    this.#sink = sink
    for (const message of this.#takeEarly()) sink.writeShared(this.#chunkOf(message))
    if (this.#end !== undefined) this.#endSink(sink, this.#end)
  }

  /** Ends the stream after the events that were sent. */
  end(how: EventStreamEnd = 'ended'): void {
    if (this.ended) return
    this.#end = how
    if (this.#sink !== undefined) this.#endSink(this.#sink, how)
    this.#close()
    this.whenEnded?.()
  }

  cancel(): void {
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

  #endSink(sink: EventSink, how: EventStreamEnd): void {
    sink.writeShared(LAST_CHUNK)
    sink.eventsEnded(how)
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

  #takeEarly(): readonly SharedMessage[] {
    const early = this.#early ?? []
    this.#early = undefined
    this.#earlyBytes = 0
    return early
  }
}
