import { TaskChain } from '../runtime/promises.ts'
import type { Message } from '../wire/message.ts'
import { CLOSE_CODE, FLAGS, OPCODE, parseFlags, protocolError, WebSocketFault } from '../wire/websocket/frames.ts'
import type { PerMessageDeflate } from './permessage-deflate.ts'

/** Bytes of messages that may wait for decompression, besides the one under way. */
const MOST_WAITING = 16 * 1024 * 1024
/** What a waiting message costs besides its bytes. */
const MESSAGE_COST = 512

/** Told of a client's frames. What `take` throws fails the WebSocket. */
export interface FrameReceiver {
  take(opcode: number, payload: Buffer): void
  fail(error: unknown): void
}

/** Checks a client's frames, decompresses its messages and keeps their order. Mongrel2 has joined messages of several frames. */
export class IncomingMessages {
  readonly #maxPayload: number
  readonly #deflate: PerMessageDeflate | undefined
  readonly #receiver: FrameReceiver
  readonly #tasks = new TaskChain()
  #waitingBytes = 0
  #closed = false

  /** @param maxPayload Bytes that a message may have. */
  constructor(maxPayload: number, deflate: PerMessageDeflate | undefined, receiver: FrameReceiver) {
    this.#maxPayload = maxPayload
    this.#deflate = deflate
    this.#receiver = receiver
  }

  receive({ headers, body, cut }: Message): void {
    if (cut) return this.#receiver.fail(this.#tooBig())
    const flags = parseFlags(headers.own('FLAGS') ?? '')
    const compressed = (flags & FLAGS.rsv1) !== 0
    if (!compressed && !this.#tasks.busy) return this.#handle(flags, body)
    const cost = body.length + MESSAGE_COST
    this.#waitingBytes += cost
    if (this.#waitingBytes > MOST_WAITING + this.#maxPayload) {
      return this.#receiver.fail(new WebSocketFault(CLOSE_CODE.policyViolation, 'messages come too fast'))
    }
    this.#tasks.add(async () => {
      if (compressed) await this.#handleCompressed(flags, body)
      else this.#handle(flags, body)
      this.#waitingBytes -= cost
    })
  }

  /** Nothing is received from now on. */
  close(): void {
    this.#closed = true
  }

  #handle(flags: number, payload: Buffer): void {
    if (this.#closed) return
    try {
      this.#receiver.take(this.#check(flags, payload), payload)
    } catch (error) {
      this.#receiver.fail(error)
    }
  }

  async #handleCompressed(flags: number, payload: Buffer): Promise<void> {
    if (this.#closed) return
    try {
      const opcode = flags & FLAGS.opcode
      const isMessage = opcode === OPCODE.text || opcode === OPCODE.binary
      if (this.#deflate === undefined || !isMessage) throw protocolError('a reserved bit')
      this.#check(flags & ~FLAGS.rsv1, payload)
      const inflated = await this.#deflate.inflate(payload)
      if (!this.#closed) this.#receiver.take(opcode, inflated)
    } catch (error) {
      this.#receiver.fail(error)
    }
  }

  /** Returns the opcode. Mongrel2 lets no control frame through that is too long. */
  #check(flags: number, payload: Buffer): number {
    if ((flags & FLAGS.fin) === 0) throw protocolError('a part of a message')
    if ((flags & FLAGS.reserved) !== 0) throw protocolError('a reserved bit')
    const opcode = flags & FLAGS.opcode
    if (payload.length > this.#maxPayload && opcode < OPCODE.close) throw this.#tooBig()
    return opcode
  }

  #tooBig(): WebSocketFault {
    return new WebSocketFault(CLOSE_CODE.tooBig, `a message of more than ${this.#maxPayload} bytes`)
  }
}
