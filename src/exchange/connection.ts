import { type Deferred, deferred } from '../deferred.ts'
import type { Publisher } from '../link/link.ts'
import type { Message } from '../wire/message.ts'
import { CLOSE, renderReply } from '../wire/reply.ts'
import type { RequestFacts } from './facts.ts'
import type { Pacing } from './pacing.ts'

/** What a connection asks of its epoch. */
export interface ConnectionOwner {
  /** At the end of this turn `take` is called. */
  touch(connection: Connection): void
  /** The connection was closed by us: Mongrel2 sends no notice of that. */
  closed(connection: Connection): void
  readonly publisher: Publisher
}

/** A request that has not been answered in full, as its connection sees it. */
export interface OpenExchange {
  readonly facts: RequestFacts
  /** It is its turn to be answered. */
  begin(): void
  /** It will not be answered any more. */
  abort(reason: DOMException): void
}

/** A body that Mongrel2 is storing in a file, as its connection sees it. */
export interface StoringUpload {
  /** The connection's next message came, which has to be the upload's end. */
  finish(message: Message): Promise<void>
  /** Answers without waiting for the end. */
  refuse(status: number, reason: string): void
}

/**
 * One client's connection: it orders the answers, owns every message that goes out, and knows whether the client is
 * still there and whether we still listen to it.
 */
export class Connection {
  readonly id: number
  readonly sender: string
  readonly pacing: Pacing
  /** Whether it will be closed after what is open: what it sends from now on is not answered. */
  deaf = false
  /** Whether it is gone, by either side's will: nothing can be written any more. */
  gone = false
  /** The upload that Mongrel2 is storing for it. */
  upload: StoringUpload | undefined
  readonly #owner: ConnectionOwner
  /** In the order of the requests, which the answers have to keep. */
  readonly #exchanges: OpenExchange[] = []
  #outbox: Uint8Array[] = []
  #waiting = 0
  #closing = false
  #pipelining = false
  #touched = false
  #room: Deferred<void> | undefined
  #retry: NodeJS.Timeout | undefined

  constructor(id: number, sender: string, pacing: Pacing, owner: ConnectionOwner) {
    this.id = id
    this.sender = sender
    this.pacing = pacing
    this.#owner = owner
  }

  /** Whether nothing has to be remembered of it. */
  isIdle(now: number): boolean {
    return !this.busy && this.pacing.settled(now)
  }

  /** Whether a request of it has not been answered in full, or its close not been said. */
  get busy(): boolean {
    return this.#exchanges.length > 0 || this.#waiting > 0 || (this.#closing && !this.gone)
  }

  /** A request came: its answer goes out after those of the ones before it. */
  open(exchange: OpenExchange): void {
    if (this.#exchanges.length > 0) this.#pipelining = true
    else if (this.#waiting === 0 && !this.#pipelining) this.pacing.asked()
    this.#exchanges.push(exchange)
    if (!exchange.facts.persistent) this.deaf = true
  }

  /** Starts the answer whose turn it is, once it is there. */
  advance(): void {
    this.#exchanges[0]?.begin()
  }

  /** The answer of the first exchange was handed over in full, or as far as it came. */
  finish(exchange: OpenExchange, reusable: boolean): void {
    if (this.#exchanges[0] !== exchange) return
    this.#exchanges.shift()
    if (reusable) this.advance()
    else this.close()
  }

  /** Queues bytes for the client; they go out at the end of the turn, together, as far as Mongrel2 can take them. */
  write(bytes: Uint8Array): void {
    if (this.gone || this.#closing || bytes.length === 0) return
    this.#outbox.push(bytes)
    this.#waiting += bytes.length
    this.#touch()
  }

  /** Resolves when more may be written; undefined when it may be at once. */
  writable(): Promise<void> | undefined {
    if (this.gone) return undefined
    if (this.#waiting >= this.pacing.waitingLimit) {
      this.#room ??= deferred()
      return this.#room.promise
    }
    return this.#owner.publisher.full ? this.#owner.publisher.drained() : undefined
  }

  /** Closes the connection when what was written has gone out; requests still open are not answered any more. */
  close(): void {
    this.deaf = true
    if (this.gone || this.#closing) return
    this.#closing = true
    this.#abortAll(new DOMException('the connection was closed before this request was answered', 'AbortError'))
    this.#touch()
  }

  /** Closes the connection though not everything has gone out; the client finds its response cut short. */
  cut(): void {
    this.#outbox = []
    this.#waiting = 0
    this.close()
  }

  /** Mongrel2 has written so many bytes. */
  credit(bytes: number): void {
    this.pacing.credited(bytes)
    if (this.#waiting > 0 || this.#closing) this.#touch()
  }

  /** The connection is no more: what waits is dropped, open exchanges are aborted. */
  lose(reason: DOMException): void {
    if (this.gone) return
    this.#end()
    this.#abortAll(reason)
  }

  /** Appends what may go out now, as replies; called at the end of a turn. */
  take(replies: Buffer[], now: number): number {
    this.#touched = false
    let bytes = 0
    while (this.#waiting > 0 && !this.gone) {
      const size = this.pacing.allowance(this.#waiting, this.#isComplete(), now)
      if (size <= 0) break
      replies.push(renderReply(this.sender, [this.id], this.#cut(size)))
      this.pacing.published(size, now)
      bytes += size
    }
    if (this.#waiting > 0) this.#waitToRetry(now)
    else if (this.#closing && !this.gone) {
      replies.push(renderReply(this.sender, [this.id], [CLOSE]))
      this.#end()
      this.#owner.closed(this)
    }
    if (this.#waiting < this.pacing.waitingLimit) this.#makeRoom()
    return bytes
  }

  #abortAll(reason: DOMException): void {
    for (const exchange of this.#exchanges.splice(0)) exchange.abort(reason)
  }

  #isComplete(): boolean {
    return this.#exchanges.length === 0 || this.#closing
  }

  #touch(): void {
    if (this.#touched) return
    this.#touched = true
    this.#owner.touch(this)
  }

  #waitToRetry(now: number): void {
    const at = this.pacing.retryAt(now)
    if (at === undefined || this.#retry !== undefined) return
    this.#retry = setTimeout(
      () => {
        this.#retry = undefined
        if (!this.gone) this.#touch()
      },
      Math.max(1, at - now),
    )
  }

  #end(): void {
    this.gone = true
    this.deaf = true
    this.#outbox = []
    this.#waiting = 0
    clearTimeout(this.#retry)
    this.#makeRoom()
  }

  #makeRoom(): void {
    this.#room?.resolve()
    this.#room = undefined
  }

  /** Takes exactly so many bytes off the outbox. */
  #cut(size: number): Uint8Array[] {
    this.#waiting -= size
    if (this.#waiting === 0) {
      const all = this.#outbox
      this.#outbox = []
      return all
    }
    const pieces: Uint8Array[] = []
    let taken = 0
    let count = 0
    while (taken < size) {
      const piece = this.#outbox[count] as Uint8Array
      const rest = size - taken
      if (piece.length > rest) {
        pieces.push(piece.subarray(0, rest))
        this.#outbox[count] = piece.subarray(rest)
        break
      }
      pieces.push(piece)
      taken += piece.length
      count++
    }
    this.#outbox.splice(0, count)
    return pieces
  }
}
