import type { Audience, Budget, SharedMessage, Subscriber } from '../connection/shared-message.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'

/** Where the events of a stream go, if not to a reader of its body: to a client's connection. */
export interface EventSink {
  /** Writes bytes that others get, too. */
  writeShared(bytes: Uint8Array): void
  /** Bytes that have not been delivered, as far as can be known. */
  undelivered(now: number): number
}

/** How an event stream ended: by itself, or because its client was too slow. */
export type EventStreamEnd = 'ended' | 'slow'

/** The streams behind the bodies of responses. */
const streams = new WeakMap<ReadableStream, EventStream>()

/** The event stream that a response's body is; undefined for any other, and for one that somebody has begun to read. */
export function eventStreamOf(body: ReadableStream): EventStream | undefined {
  const stream = streams.get(body)
  return stream?.untouched === true ? stream : undefined
}

/**
 * A client that gets messages as events. Its body is an ordinary stream for whoever reads it; an exchange does not, but lets the
 * events be written to its connection, so that those of many clients are the same bytes.
 */
export class EventStream implements Subscriber {
  readonly body: ReadableStream<Uint8Array>
  #audience: Audience | undefined
  /** What came before somebody wanted it. */
  #early: SharedMessage[] = []
  #earlyBytes = 0
  #sink: EventSink | undefined
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #end: EventStreamEnd | undefined
  #whenEnded: Deferred<EventStreamEnd> | undefined

  constructor() {
    this.body = new ReadableStream<Uint8Array>(
      { pull: (controller) => this.#beRead(controller), cancel: () => this.end() },
      { highWaterMark: 0, size: ({ length }) => length },
    )
    streams.set(this.body, this)
  }

  /** Whether nobody has begun to take its events. */
  get untouched(): boolean {
    return this.#sink === undefined && this.#controller === undefined && !this.body.locked
  }

  join(audience: Audience): boolean {
    if (this.#end !== undefined) return false
    this.#audience = audience
    return true
  }

  leave(): void {
    this.#audience = undefined
  }

  deliver(message: SharedMessage, { maxBufferedBytes, whenSlow }: Budget, now: number): void {
    if (this.#end !== undefined) return
    const waiting = this.#waiting(now)
    if (waiting > 0 && waiting + message.event.length > maxBufferedBytes) {
      if (whenSlow === 'close') this.end('slow')
    } else if (this.#sink !== undefined) this.#sink.writeShared(message.chunk)
    else if (this.#controller !== undefined) this.#controller.enqueue(Uint8Array.from(message.event))
    else {
      this.#early.push(message)
      this.#earlyBytes += message.event.length
    }
  }

  /** Gives the events to a connection, as chunks, until it ends. */
  async writeTo(sink: EventSink): Promise<EventStreamEnd> {
    this.#sink = sink
    for (const { chunk } of this.#takeEarly()) sink.writeShared(chunk)
    if (this.#end !== undefined) return this.#end
    this.#whenEnded = deferred()
    return await this.#whenEnded.promise
  }

  /** Ends it behind what was sent. */
  end(how: EventStreamEnd = 'ended'): void {
    if (this.#end !== undefined) return
    this.#end = how
    this.#whenEnded?.resolve(how)
    this.#close()
    this.#audience?.remove(this)
  }

  /** Nobody takes its events any more. */
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
    for (const { event } of this.#takeEarly()) controller.enqueue(Uint8Array.from(event))
    if (this.#end !== undefined) this.#close()
  }

  #close(): void {
    try {
      this.#controller?.close()
    } catch {} // it was cancelled
  }

  #takeEarly(): SharedMessage[] {
    const early = this.#early
    this.#early = []
    this.#earlyBytes = 0
    return early
  }
}
