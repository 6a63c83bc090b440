import { createSharedResponse } from '../platform/light-response.ts'
import { type BytesLike, copyOf } from '../wire/bytes.ts'
import { type EventFields, renderChunk, renderEvent } from '../wire/http.ts'
import { OPCODE, renderFrame } from '../wire/websocket/frames.ts'

/** A message for many clients: a text, or bytes, which are copied. */
export type TopicData = string | BytesLike

/** A message for many clients. Each form of it is rendered once, on first use. */
export class SharedMessage {
  readonly binary: boolean
  readonly payload: Buffer
  readonly fields: EventFields
  #frame: Buffer | undefined
  #event: Buffer | undefined
  #chunk: Buffer | undefined
  #payloadChunk: Buffer | undefined
  #answer: (() => Response) | undefined

  /** @param fields Checked. */
  constructor(binary: boolean, payload: Buffer, fields: EventFields) {
    this.binary = binary
    this.payload = payload
    this.fields = fields
  }

  /** A WebSocket frame. */
  get frame(): Buffer {
    this.#frame ??= renderFrame(this.binary ? OPCODE.binary : OPCODE.text, this.payload)
    return this.#frame
  }

  /** A server-sent event. */
  get event(): Buffer {
    this.#event ??= renderEvent(this.payload.toString(), this.fields)
    return this.#event
  }

  /** The event as a chunk of a response. */
  get chunk(): Buffer {
    this.#chunk ??= renderChunk(this.event)
    return this.#chunk
  }

  /** The payload as a chunk of a response. */
  get payloadChunk(): Buffer {
    this.#payloadChunk ??= renderChunk(this.payload)
    return this.#payloadChunk
  }

  /** Makes the answer to a long poll. */
  createAnswer(): Response {
    this.#answer ??= createSharedResponse(
      this.binary ? this.payload : this.payload.toString(),
      this.binary ? 'application/octet-stream' : 'text/plain;charset=UTF-8',
    )
    return this.#answer()
  }
}

/** Makes a message of the user's data; bytes are copied. */
export function createSharedMessage(data: TopicData, fields: EventFields): SharedMessage {
  return new SharedMessage(typeof data !== 'string', copyOf(data), fields)
}

/** How much may wait for a slow member. */
export interface Budget {
  /** Upper bound of the bytes that wait for a member, beside one message. */
  readonly maxBufferedBytes: number
  /** Whether a member beyond that misses the message or is closed. */
  readonly whenSlow: 'drop' | 'close'
}

/** A client that gets shared messages. */
export interface Member {
  /** @param now In milliseconds of `performance.now()`. */
  deliver(message: SharedMessage, budget: Budget, now: number): void
}

/** Whether a message may be sent to a client for which `waiting` bytes wait. One message may be larger than the budget. */
export function fits(size: number, waiting: number, maxBufferedBytes: number): boolean {
  return waiting === 0 || waiting + size <= maxBufferedBytes
}
