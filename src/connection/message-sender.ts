import type { Connection } from './connection.ts'
import type { Outbox } from './outbox.ts'
import type { Budget, Member, SharedMessage } from './shared-message.ts'
import type { TokenKind } from './token.ts'

/** Numbers of delivered messages that are dropped together, which is faster than one by one. */
const DROPPED_TOGETHER = 512

/** The sending side of a WebSocket or a message socket: counts the bytes that are not delivered, and tells topics of its end. */
export abstract class MessageSender implements Member {
  readonly #connection: Connection
  readonly #outbox: Outbox
  readonly #kind: TokenKind
  #token: string | undefined
  /** Two numbers for a message, since a broadcast makes no objects: its end in the connection's bytes, and its size without its frame's header. */
  #sent: number[] = []
  /** Index of the first message that is not delivered. */
  #first = 0
  #undelivered = 0
  #endings: Set<(sender: MessageSender) => void> | undefined

  constructor(connection: Connection, kind: TokenKind) {
    this.#connection = connection
    this.#outbox = connection.outbox
    this.#kind = kind
  }

  /** Whether nothing can be sent any more. */
  abstract get ended(): boolean

  abstract deliver(message: SharedMessage, budget: Budget, now: number): void

  /** The token by which other processes can send to the client. */
  get token(): string {
    this.#token ??= this.#connection.sharedToken(this.#kind)
    return this.#token
  }

  /** Calls a function when the socket ends. */
  onEnd(ending: (sender: MessageSender) => void): void {
    this.#endings ??= new Set()
    this.#endings.add(ending)
  }

  /** Undoes `onEnd`. */
  offEnd(ending: (sender: MessageSender) => void): void {
    this.#endings?.delete(ending)
  }

  protected runEndings(): void {
    for (const ending of this.#endings ?? []) ending(this)
  }

  /** Bytes of messages that are not delivered, as far as can be known, without the headers of frames. */
  protected undelivered(now: number): number {
    const delivered = this.#outbox.position - this.#outbox.undelivered(now)
    const sent = this.#sent
    let first = this.#first
    if (first === sent.length) return this.#undelivered
    for (; first < sent.length && (sent[first] as number) <= delivered; first += 2) {
      this.#undelivered -= sent[first + 1] as number
    }
    if (first === sent.length) {
      sent.length = 0
      first = 0
    } else if (first >= DROPPED_TOGETHER) {
      sent.splice(0, first)
      first = 0
    }
    this.#first = first
    return this.#undelivered
  }

  /** Takes everything that was sent as delivered. */
  protected acknowledgeAll(): void {
    this.#sent = []
    this.#first = 0
    this.#undelivered = 0
  }

  /** Writes a message, which has `size` bytes without the header of its frame. */
  protected write(bytes: Uint8Array, size: number): void {
    this.#outbox.write(bytes)
    this.#count(size)
  }

  /** The same for bytes that others get too. */
  protected writeShared(bytes: Uint8Array, size: number): void {
    this.#outbox.writeShared(bytes)
    this.#count(size)
  }

  /** Cuts the connection: more than `most` bytes would wait. The user expects no event while he sends, so it comes later. */
  protected cutFull(most: number, socket: string, failed: (error: Error) => void): void {
    const error = new Error(`more than ${most} bytes (maxBufferedBytes) wait for the client of a ${socket}`)
    queueMicrotask(() => {
      failed(error)
      this.#connection.cut()
    })
  }

  #count(size: number): void {
    this.#sent.push(this.#outbox.position, size)
    this.#undelivered += size
  }
}
