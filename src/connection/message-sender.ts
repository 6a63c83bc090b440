import type { Connection } from './connection.ts'
import type { Outbox } from './outbox.ts'
import { type Budget, fits, type Member, type SharedMessage } from './shared-message.ts'
import type { TokenKind } from './token.ts'

/** Numbers of delivered messages that are removed at once, which is faster than one by one. */
const DROPPED_TOGETHER = 512
/** Numbers kept from which on each message finds out what is delivered. */
const LOOK_FROM = 32

/** The sending side of a WebSocket or a message socket: counts the undelivered bytes, and tells topics of its end. */
export abstract class MessageSender implements Member {
  readonly #connection: Connection
  readonly #outbox: Outbox
  readonly #kind: TokenKind
  #token: string | undefined
  /** Two numbers a message, since a broadcast makes no objects: the outbox position of its end, and its size without the frame's header. */
  #sent: number[] = []
  /** Index of the first undelivered message. */
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

  /** The token with which other processes can send to the client. */
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

  /** Bytes of undelivered messages, as far as is known, without the headers of frames. */
  protected undelivered(now: number): number {
    const delivered = this.#outbox.position - this.#outbox.undelivered(now)
    const sent = this.#sent
    let first = this.#first
    if (first === sent.length) return this.#undelivered
    for (; first < sent.length && (sent[first] as number) <= delivered; first += 2) {
      this.#undelivered -= sent[first + 1] as number
    }
    if (first === sent.length || first >= DROPPED_TOGETHER) {
      sent.splice(0, first)
      first = 0
    }
    this.#first = first
    return this.#undelivered
  }

  /** Whether a message may be sent while `more` bytes wait beside the undelivered ones (see `fits`). */
  protected hasRoom(size: number, more: number, most: number, now: number): boolean {
    // Mostly it fits even if nothing was delivered since the last look: a broadcast reads no pacing, and misses the cache less.
    if (more + this.#undelivered + size <= most && this.#sent.length < LOOK_FROM) return true
    return fits(size, more + this.undelivered(now), most)
  }

  /** Counts everything sent as delivered. */
  protected acknowledgeAll(): void {
    this.#sent = []
    this.#first = 0
    this.#undelivered = 0
  }

  /** Writes a message of `size` bytes without the frame's header. */
  protected write(bytes: Uint8Array, size: number): void {
    this.#outbox.write(bytes)
    this.#count(size)
  }

  /** The same for bytes that other clients get, too. */
  protected writeShared(bytes: Uint8Array, size: number): void {
    this.#outbox.writeShared(bytes)
    this.#count(size)
  }

  /** Cuts the connection, since more than `most` bytes would wait. The error event comes later, not during the user's call. */
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
