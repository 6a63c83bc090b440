import type { Publisher } from '../link/transport.ts'
import { type Deferred, deferred, delay } from '../runtime/promises.ts'
import type { ReplyBatch } from '../wire/reply-batch.ts'
import { ASK_FROM } from './pacing/estimate-pacing.ts'
import type { Pacing } from './pacing/pacing.ts'

/** As `ASK_FROM` for WebSockets that get shared messages: late, since all their clients answer, and spread over several turns. */
const ASK_MANY_FROM = 8
const ASK_MANY_SPREAD = 5

/** How often to check whether everything is delivered where only credits tell, in milliseconds. */
const SETTLE_INTERVAL = 20

/** The pieces of an empty outbox: most are empty most of the time. Never changed. */
const NO_PIECES: Uint8Array[] = []

/** The connection that an outbox belongs to. */
export interface OutboxConnection {
  readonly id: number
  readonly sender: string
  /** Whether no more output is expected soon. */
  readonly complete: boolean
  /** Makes `take` be called at the end of this turn. */
  touch(): void
}

/** What all outboxes of an epoch share. */
export interface OutboxOwner {
  readonly publisher: Publisher
  /** An outbox is full, and its pacing allows nothing yet. */
  stalled(pacing: Pacing): void
}

/** Waits until bytes are published. It is in one list at most, and has its place in it itself, since most lists are short. */
interface PublicationMark {
  /** Where the bytes end. */
  position: number
  next?: PublicationMark
  /** Called once, when all of them are published or dropped, with the position up to which they are published; `now` if that was asked for. */
  published(reached: number, now?: number): void
}

/** Whether written bytes wait to be published, Mongrel2 has all of them, or the client's socket has, as far as is known. */
export type WriteProgress = 'waiting' | 'published' | 'delivered'

/** The bytes of a connection that wait to be published, and the end of the connection after them. */
export class Outbox {
  /** How Mongrel2 encodes the messages of a message socket, which are never joined or cut. Undefined for a stream of bytes. */
  encoding: 'base64' | 'raw' | undefined
  readonly #pacing: Pacing
  readonly #connection: OutboxConnection
  readonly #owner: OutboxOwner
  #pieces = NO_PIECES
  /** Whether other connections may get the same pieces, too. */
  #shared = true
  #waiting = 0
  #position = 0
  /** The marks of `whenPublished`, from the first to the last. */
  #mark: PublicationMark | undefined
  #lastMark: PublicationMark | undefined
  #end: 'none' | 'waiting' | 'taken' = 'none'
  #room: Deferred<void> | undefined
  #retry: NodeJS.Timeout | undefined
  #retryAt = Number.POSITIVE_INFINITY

  constructor(pacing: Pacing, connection: OutboxConnection, owner: OutboxOwner) {
    this.#pacing = pacing
    this.#connection = connection
    this.#owner = owner
  }

  /** Bytes that wait to be published. */
  get waiting(): number {
    return this.#waiting
  }

  /** Whether neither bytes nor the end wait. */
  get empty(): boolean {
    return this.#waiting === 0 && this.#end !== 'waiting'
  }

  /** Whether other connections may get what waits, too. */
  get shared(): boolean {
    return this.#shared
  }

  /** Whether the end is next. */
  get atEnd(): boolean {
    return this.#waiting === 0 && this.#end === 'waiting'
  }

  /** Bytes written since the connection was made, without those that were dropped. */
  get position(): number {
    return this.#position
  }

  /** Bytes published since the connection was made. */
  get published(): number {
    return this.#position - this.#waiting
  }

  get progress(): WriteProgress {
    if (this.#waiting > 0) return 'waiting'
    return this.#pacing.settled(performance.now()) ? 'delivered' : 'published'
  }

  /** Bytes written and not delivered, as far as is known. */
  undelivered(now: number = performance.now()): number {
    return this.#waiting + this.#pacing.undelivered(now)
  }

  /** Size of a piece as Mongrel2 sends it, in bytes. */
  sizeOf({ length }: Uint8Array): number {
    return this.encoding === 'base64' ? 4 * Math.ceil(length / 3) : length
  }

  /** Adds bytes; they are published at the end of the turn as far as the pacing allows. */
  write(bytes: Uint8Array): void {
    this.writeShared(bytes)
    if (bytes.length > 0) this.#shared = false
  }

  /** Adds bytes that other connections get, too. Connections whose outboxes hold the same buffers only get them in one reply. */
  writeShared(bytes: Uint8Array): void {
    if (this.#end !== 'none' || bytes.length === 0) return
    // Pushing into an empty array reserves many places.
    if (this.#waiting === 0) this.#pieces = [bytes]
    else this.#pieces.push(bytes)
    const size = this.sizeOf(bytes)
    this.#waiting += size
    this.#position += size
    this.#connection.touch()
  }

  /** Resolves when more may be written; undefined when that is now. */
  writable(): Promise<void> | undefined {
    if (this.#end === 'taken') return undefined
    if (this.#waiting >= this.#pacing.waitingLimit) return this.#roomy()
    return this.#owner.publisher.full ? this.#owner.publisher.drained() : undefined
  }

  /** Marks what was written so far, and tells the mark when that is published or dropped. */
  whenPublished(mark: PublicationMark): void {
    mark.position = this.#position
    if (this.#waiting === 0) return mark.published(this.#position)
    if (this.#lastMark === undefined) this.#mark = mark
    else this.#lastMark.next = mark
    this.#lastMark = mark
  }

  /** Resolves when everything is delivered, as far as is known, or the connection ends. */
  async settled(): Promise<void> {
    while (this.#end !== 'taken' && this.progress !== 'delivered') {
      const now = performance.now()
      await delay(Math.max(1, (this.#pacing.retryAt(now) ?? now + SETTLE_INTERVAL) - now))
    }
  }

  /** Whether to send the client of a WebSocket a ping. */
  wantsProbe(now: number): boolean {
    const from = this.#shared ? ASK_MANY_FROM + (this.#connection.id % ASK_MANY_SPREAD) : ASK_FROM
    return this.#pacing.wantsProbe?.(this.#waiting, from, now) ?? false
  }

  /** The client has read all bytes up to this position. */
  acknowledged(position: number): void {
    this.#pacing.acknowledged?.(position)
    if (this.#waiting > 0) this.#connection.touch()
  }

  /** Mongrel2 has written so many bytes. */
  credited(bytes: number): void {
    this.#pacing.credited?.(bytes)
    if (!this.empty) this.#connection.touch()
  }

  /** Takes from the control port how many bytes Mongrel2 has written. Returns whether a message was found delivered. */
  written(bytes: number, now: number): boolean {
    const moved = this.#pacing.written?.(bytes, now) ?? false
    if (this.#waiting > 0 ? this.#allowance(now) > 0 : moved && this.atEnd) this.#connection.touch()
    return moved
  }

  /** Adds the end; later writes are dropped. */
  end(): void {
    if (this.#end === 'none') this.#end = 'waiting'
    this.#connection.touch()
  }

  /** Drops the bytes that wait. */
  drop(): void {
    this.#pieces = NO_PIECES
    this.#position -= this.#waiting
    this.#waiting = 0
    while (this.#mark !== undefined) this.#passMark(this.#mark)
  }

  /** The connection is gone. */
  close(): void {
    this.#end = 'taken'
    this.drop()
    clearTimeout(this.#retry)
    this.#makeRoom()
  }

  /** Takes the bytes that may be published now; returns their number. `socket` may add bytes before each reply. */
  take(replies: ReplyBatch, now: number, socket: { publishing?(now: number): void } | undefined): number {
    const { id, sender } = this.#connection
    let bytes = 0
    while (this.#waiting > 0) {
      let size = this.#allowance(now)
      if (size <= 0) break
      const waiting = this.#waiting
      socket?.publishing?.(now)
      if (this.#waiting !== waiting) size = this.#allowance(now)
      const shared = this.#shared && size === this.#waiting && this.#end === 'none'
      if (shared) replies.share(sender, id, this.#cut(size))
      else replies.push({ sender, connectionIds: [id], payload: this.#cut(size) })
      this.#pacing.published(size, now)
      bytes += size
    }
    while (this.#mark !== undefined && this.#mark.position <= this.published) this.#passMark(this.#mark, now)
    if (this.#waiting >= this.#pacing.waitingLimit) this.#owner.stalled(this.#pacing)
    else this.#makeRoom()
    if (this.#waiting > 0) this.#retryLater(this.#pacing.retryAt(now), now)
    return bytes
  }

  #passMark(mark: PublicationMark, now?: number): void {
    this.#mark = mark.next
    // A passed mark has its request's message.
    if (this.#mark === undefined) this.#lastMark = undefined
    mark.published(Math.min(mark.position, this.published), now)
  }

  /** The size of the next reply. */
  #allowance(now: number): number {
    if (this.encoding === undefined) return this.#pacing.allowance(this.#waiting, this.#connection.complete, now)
    const size = this.sizeOf(this.#pieces[0] as Uint8Array)
    const allowed = this.#pacing.allowance(size, true, now)
    return allowed >= size || (allowed > 0 && !this.#pacing.strict) ? size : 0
  }

  #retryLater(at: number | undefined, now: number): void {
    if (at === undefined || at >= this.#retryAt) return
    clearTimeout(this.#retry)
    this.#retryAt = at
    const retry = () => {
      this.#retryAt = Number.POSITIVE_INFINITY
      this.#connection.touch()
    }
    this.#retry = setTimeout(retry, Math.max(1, at - now))
  }

  /** Resolves when there is room here and in the publisher. */
  async #roomy(): Promise<void> {
    this.#room ??= deferred()
    await this.#room.promise
    if (this.#end !== 'taken' && this.#owner.publisher.full) await this.#owner.publisher.drained()
  }

  #makeRoom(): void {
    this.#room?.resolve()
    this.#room = undefined
  }

  /** Takes exactly `size` bytes. */
  #cut(size: number): Uint8Array[] {
    this.#waiting -= size
    if (this.#waiting === 0) {
      const all = this.#pieces
      this.#pieces = NO_PIECES
      this.#shared = true
      return all
    }
    if (this.encoding !== undefined) return this.#pieces.splice(0, 1)
    // The first piece that stays may be the rest of one.
    this.#shared = false
    const taken: Uint8Array[] = []
    let rest = size
    let count = 0
    while (rest > 0) {
      const piece = this.#pieces[count] as Uint8Array
      taken.push(piece.length > rest ? piece.subarray(0, rest) : piece)
      if (piece.length > rest) this.#pieces[count] = piece.subarray(rest)
      else count++
      rest -= Math.min(rest, piece.length)
    }
    this.#pieces.splice(0, count)
    return taken
  }
}
