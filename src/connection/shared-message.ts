import { createSharedResponse } from '../platform/light-response.ts'
import { type BytesLike, copyOf } from '../wire/bytes.ts'
import { type EventFields, renderChunk, renderEvent } from '../wire/http.ts'
import { OPCODE, renderFrame } from '../wire/websocket/frames.ts'

/** What can be sent to many: a text, or bytes as they are now. */
export type TopicData = string | BytesLike

/** A message for many clients: each form of it is rendered once, when it is first needed. */
export class SharedMessage {
  /** Whether it is bytes rather than a text. */
  readonly binary: boolean
  readonly payload: Buffer
  readonly fields: EventFields
  #frame: Buffer | undefined
  #event: Buffer | undefined
  #chunk: Buffer | undefined
  #answer: (() => Response) | undefined

  /** @param fields Checked. */
  constructor(binary: boolean, payload: Buffer, fields: EventFields) {
    this.binary = binary
    this.payload = payload
    this.fields = fields
  }

  /** As a WebSocket's message. */
  get frame(): Buffer {
    this.#frame ??= renderFrame(this.binary ? OPCODE.binary : OPCODE.text, this.payload)
    return this.#frame
  }

  /** As an event. */
  get event(): Buffer {
    this.#event ??= renderEvent(this.payload.toString(), this.fields)
    return this.#event
  }

  /** The event as a chunk of a response. */
  get chunk(): Buffer {
    this.#chunk ??= renderChunk(this.event)
    return this.#chunk
  }

  /** As the answer to a long poll, a new Response each time. */
  createAnswer(): Response {
    this.#answer ??= createSharedResponse(
      this.binary ? this.payload : this.payload.toString(),
      this.binary ? 'application/octet-stream' : 'text/plain;charset=UTF-8',
    )
    return this.#answer()
  }
}

/** Makes a message of the user's data. Bytes are copied, since the user may change them. */
export function createSharedMessage(data: TopicData, fields: EventFields): SharedMessage {
  return new SharedMessage(typeof data !== 'string', copyOf(data), fields)
}

/** What happens to a member that is too slow. */
export interface Budget {
  /** Bytes that may wait for a member, beside one message. */
  readonly maxBufferedBytes: number
  /** The member does not get the message, or is closed. */
  readonly whenSlow: 'drop' | 'close'
}

/** A client that gets shared messages. */
export interface Member {
  /** @param now In milliseconds of `performance.now()`. */
  deliver(message: SharedMessage, budget: Budget, now: number): void
}

/** Whether a message may be sent to a client for which so many bytes wait. One message may be larger than the budget. */
export function fits(size: number, waiting: number, maxBufferedBytes: number): boolean {
  return waiting === 0 || waiting + size <= maxBufferedBytes
}
