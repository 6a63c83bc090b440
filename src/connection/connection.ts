import type { Publisher } from '../link/link.ts'
import { type Deferred, deferred, delay } from '../runtime/promises.ts'
import type { Message } from '../wire/message.ts'
import { CLOSE, renderCloseDuringBody, renderControl, renderReply, renderReset } from '../wire/reply.ts'
import { ASK_FROM } from './pacing/estimate-pacing.ts'
import type { Pacing } from './pacing/pacing.ts'
import type { Probe } from './probe.ts'
import type { ReplyBatch } from './reply-batch.ts'
import type { RequestFacts } from './request-semantics.ts'
import { renderToken, type Token, type TokenKind, type TokenPlace } from './token.ts'

/** Messages of one connection that wait at most, each with a body of at most `limits.content_length`. */
const MOST_HELD = 128

/**
 * Messages outstanding from which on the client of a WebSocket is asked that gets what many get. It is asked late, since all of them
 * answer, and not all in the same turn.
 */
const ASK_MANY_FROM = 8
const ASK_MANY_SPREAD = 5

/** What a connection asks of its epoch. */
export interface ConnectionOwner {
  /** At the end of this turn `take` is called. */
  touch(connection: Connection): void
  /** A message that had to wait may be dealt with. */
  deal(message: Message, connection: Connection): void
  /** A message will not be dealt with. */
  drop(message: Message): void
  /** As much waits for the connection as may, and the slowest client that is to be served could not take more yet. */
  stalled(connection: Connection): void
  /** The connection was closed by us: Mongrel2 sends no notice of that. */
  closed(connection: Connection): void
  readonly publisher: Publisher
  /** Where others find the connection. */
  readonly place: TokenPlace
  /** Its answer is left to others. */
  deferred(connection: Connection): void
  /** Whether the server takes leave: what would go on for ever is to end. */
  readonly leaving: boolean
  /** What clients of WebSockets are asked by in this turn. */
  readonly probe: Probe
}

/** How often it is looked whether the client has read everything, where only Mongrel2's credits tell, in milliseconds. */
const SETTLE_INTERVAL = 20

/** A request that has not been answered in full, as its connection sees it. */
export interface OpenExchange {
  readonly facts: RequestFacts
  /** It is its turn to be answered. */
  begin(): void
  /** It will not be answered any more. */
  abort(reason: DOMException): void
  /** It was left to others, and is not looked after any more. */
  forsake(): void
  /** The server takes leave: an answer that would go on for ever is to end. */
  goAway(): void
}

/** How far what was written to a connection has come. */
export type WriteProgress =
  /** Some of it waits to be published. */
  | 'waiting'
  /** Mongrel2 has all of it. */
  | 'published'
  /** Mongrel2 has handed all of it to the client's socket, as far as can be known. */
  | 'delivered'

/** A body that comes in messages of its own, as its connection sees it. */
interface IncomingBody {
  /** The connection's next message came. */
  receive(message: Message): void
  /** Answers without waiting for the rest. */
  refuse(status: number, reason: string): void
  /** The rest will not come. */
  lost(reason: DOMException): void
}

/** One that Mongrel2 stores in a file. */
export interface StoredBody extends IncomingBody {
  readonly streamed: false
}

/** One that Mongrel2 sends as it comes, by our credits. */
export interface StreamedBody extends IncomingBody {
  readonly streamed: true
  /** Whether nothing more of it comes. */
  readonly over: boolean
  /** Whether somebody reads it: its stream is locked. */
  readonly read: boolean
  /** Whether so little is missing that it is read to its end for the sake of the next request, whoever wants it. */
  readonly drainable: boolean
  /** Whether Mongrel2 is in the state in which `renderReset` is safe. */
  readonly resettable: boolean
  /** Whether its reader waits for the client. */
  readonly awaited: boolean
  /** Called once, when it is over or nobody waits for it any more. */
  whenSettled: (() => void) | undefined
  /** The head of an answer goes out and nobody reads it: if nobody begins to, soon, it is thrown away. */
  expectReader(): void
  /**
   * Throws away what still comes, until the client has sent all of it, leaves, or has had its time.
   *
   * @param reason What its stream fails with.
   */
  drain(reason?: Error): void
}

/** What takes the frames of a WebSocket, or the messages of a message socket, as its connection sees it. */
export interface IncomingFrames {
  /** The kind of message that belongs to it. */
  readonly takes: 'frame' | 'socket'
  /** A frame came. */
  receive(message: Message): void
  /** What was written goes out now, and what is written now with it, at its end. */
  publishing(now: number): void
  /** No more will come, nor can any be sent. */
  lost(): void
  /** Takes leave of the client; resolves when it has answered, or is not waited for. */
  goAway(): Promise<void>
  /** Ends what is open without waiting for the client. */
  end(): void
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
  /** Whether its answer is left to others: it is kept alive, and nothing is said. */
  deferred = false
  /** Whether it is one of TLS. */
  secure = false
  /** The body that is under way: the next message is of it. */
  upload: StoredBody | StreamedBody | undefined
  /** Its WebSocket, from the handshake on, or its message socket: all that comes now are frames, or messages. */
  frames: IncomingFrames | undefined
  /**
   * What Mongrel2 makes of what is written to a message socket, one by one: neither joined with others nor cut. Undefined where it
   * is a stream of bytes, as everywhere else.
   */
  encoding: 'base64' | 'raw' | undefined
  readonly #owner: ConnectionOwner
  /** In the order of the requests, which the answers have to keep. */
  readonly #exchanges: OpenExchange[] = []
  #outbox: Uint8Array[] = []
  /** Whether all of it is shared: others may get the very same. */
  #shared = true
  #waiting = 0
  #position = 0
  #closing = false
  #pipelining = false
  #touched = false
  /** Messages that wait until requests before them are answered. */
  readonly #held: Message[] = []
  /** More came than may wait. */
  #overfull = false
  #checking = false
  #closesAfterUpload = false
  readonly #maxPipelined: number
  #credits = 0
  /** Whether credits may have come to Mongrel2 when the body for which they were granted was complete, and count for the next. */
  #hasLateCredit = false
  #room: Deferred<void> | undefined
  #retry: NodeJS.Timeout | undefined
  #retryAt = Number.POSITIVE_INFINITY

  /** @param maxPipelined Requests that are worked on at once. */
  constructor(id: number, sender: string, pacing: Pacing, maxPipelined: number, owner: ConnectionOwner) {
    this.id = id
    this.sender = sender
    this.pacing = pacing
    this.#maxPipelined = maxPipelined
    this.#owner = owner
  }

  /** Whether nothing has to be remembered of it. */
  isIdle(now: number): boolean {
    return !this.busy && this.pacing.settled(now)
  }

  /** Whether a request of it has not come or not been answered in full, a WebSocket is open, or its close not been said. */
  get busy(): boolean {
    if (this.#exchanges.length > 0 || this.#waiting > 0) return true
    return this.upload !== undefined || this.frames !== undefined || (this.#closing && !this.gone)
  }

  /** Whether the next step is its client's: to send more of the body of its only request. */
  get awaitsClient(): boolean {
    const { upload } = this
    if (upload === undefined || this.#exchanges.length > 1 || this.#waiting > 0) return false
    return !upload.streamed || upload.awaited
  }

  /** Whether it cannot be finished without more from Mongrel2: credits for an answer, or parts of a body. */
  get needsMessages(): boolean {
    if (this.frames !== undefined || this.gone || this.deferred) return false
    return this.upload?.streamed === true || (this.pacing.mode === 'credits' && this.busy)
  }

  /** Whether something of it is for us to finish. */
  get unfinished(): boolean {
    return this.busy && !this.deferred
  }

  /** How many bytes have been written since it was made, published or not. */
  get position(): number {
    return this.#position
  }

  /** How many of them have not been delivered, as far as can be known. */
  undelivered(now: number = performance.now()): number {
    return this.#waiting + this.pacing.undelivered(now)
  }

  /** Whether something waits to be published. */
  get waits(): boolean {
    return this.#waiting > 0
  }

  /** What to ask the client by what it has read; undefined where that is not worth it. */
  probe(now: number): Probe | undefined {
    const from = this.#shared ? ASK_MANY_FROM + (this.id % ASK_MANY_SPREAD) : ASK_FROM
    return this.pacing.wantsProbe?.(this.#waiting, from, now) ? this.#owner.probe : undefined
  }

  /** Whether what would go on for ever is to end. */
  get leaving(): boolean {
    return this.#owner.leaving
  }

  /** The client has read all up to this position. */
  acknowledged(position: number): void {
    this.pacing.acknowledged?.(position)
    if (this.#waiting > 0) this.#touch()
  }

  /**
   * Bytes that Mongrel2 has not written yet, when somebody else may go on with the connection. Undefined when something is open on it,
   * or its client asks for more before it has read what there is: another's answer could overtake ours.
   */
  balance(now: number): number | undefined {
    return this.busy || (this.#pipelining && !this.pacing.settled(now)) ? undefined : this.pacing.balance
  }

  /**
   * Whether a message has to wait until requests before it are answered, or an upload before it has been looked at. Those of a body
   * under way never do, but those behind a message that does.
   */
  get crowded(): boolean {
    return this.#held.length > 0 || this.#overfull || !this.#admits()
  }

  /**
   * Keeps a message that has to wait; false when too many do. What a client sends beyond the bound is not answered: the connection
   * is closed after the rest.
   */
  hold(message: Message): boolean {
    if (this.#held.length >= MOST_HELD) this.#overfull = true
    if (this.#overfull) return false
    this.#held.push(message)
    return true
  }

  /** The end of its upload came: what comes behind it waits until the upload has been looked at. */
  async check(work: Promise<void>): Promise<void> {
    this.upload = undefined
    this.#checking = true
    try {
      await work
    } finally {
      this.#checking = false
      this.#releaseHeld()
    }
  }

  /** A request came: its answer goes out after those of the ones before it. */
  open(exchange: OpenExchange): void {
    if (this.#exchanges.length > 0 || this.#waiting > 0) {
      if (!this.#pipelining) this.pacing.pipelines?.(performance.now())
      this.#pipelining = true
    } else if (!this.#pipelining || this.pacing.settled(performance.now())) {
      // One that has pipelined may do so again, and ask before it has read: only when it must have read all is it believed.
      this.#pipelining = false
      this.pacing.asked?.()
    }
    this.#exchanges.push(exchange)
    if (!exchange.facts.persistent || exchange.facts.single) this.deaf = true
  }

  /** Starts the answer whose turn it is, once it is there. */
  advance(): void {
    this.#exchanges[0]?.begin()
  }

  /** The answer of the first exchange was handed over in full, or as far as it came. */
  finish(exchange: OpenExchange, reusable: boolean): void {
    if (this.#exchanges[0] !== exchange) return
    this.#exchanges.shift()
    this.deferred = false
    if (reusable) {
      this.advance()
      this.#releaseHeld()
      this.#touch()
    } else if (this.#exchanges.length === 0 && this.upload?.streamed === true) this.closeAfterUpload()
    else this.close()
  }

  /** The connection is to be closed when its streamed upload is complete, or its client has had its time: not before. */
  closeAfterUpload(): void {
    this.deaf = true
    this.#closesAfterUpload = true
  }

  /** Its streamed upload is complete. */
  endUpload(): void {
    this.upload = undefined
    this.#credits = 0
    this.#hasLateCredit = true
    this.#touch()
    if (this.#closesAfterUpload) this.close()
    else this.#releaseHeld()
  }

  /** Makes a token by which others can write to it, once. */
  token(use: Pick<Token, 'kind' | 'deadline' | 'method' | 'http10'>): string {
    const { recvSpec, life } = this.#owner.place
    const flowControl = this.pacing.mode === 'credits'
    return renderToken({ ...use, recvSpec, life, sender: this.sender, id: this.id, madeAt: Date.now(), flowControl })
  }

  /** Makes a token by which others can write to it as often as they like, beside us. */
  sharedToken(kind: TokenKind): string {
    this.pacing.share?.()
    return this.token({ kind, deadline: 0, method: '', http10: false })
  }

  /** Whether an exchange is the one whose turn it is. */
  isFirst(exchange: OpenExchange): boolean {
    return this.#exchanges[0] === exchange
  }

  /** Resolves when nothing is on its way to the client any more, as far as can be known: what others send cannot be too much, nor overtake it. */
  async settled(): Promise<void> {
    for (let now = performance.now(); !this.gone && !this.#isSettled(now); now = performance.now()) {
      await delay(Math.max(1, (this.pacing.retryAt(now) ?? now + SETTLE_INTERVAL) - now))
    }
  }

  /** Leaves the answer of the first exchange to others. Those behind it will not be answered. */
  defer(exchange: OpenExchange): void {
    this.deferred = true
    this.#exchanges.shift()
    this.#abortAll(
      new DOMException('the connection is closed by the answer to a request before this one', 'AbortError'),
    )
    this.#exchanges.push(exchange)
    this.#owner.deferred(this)
  }

  /** Leaves it to others for good. */
  forsake(): void {
    for (const exchange of this.#exchanges) exchange.forsake()
  }

  /** Lets Mongrel2 send so many bytes more of a body. */
  grant(credits: number): void {
    this.#credits += credits
    this.#touch()
  }

  /** Queues bytes for the client; they go out at the end of the turn, together, as far as Mongrel2 can take them. */
  write(bytes: Uint8Array): void {
    if (this.#append(bytes)) this.#shared = false
  }

  /**
   * Queues bytes that others get, too. Where nothing else waits and all of it may go, it is published in one reply for all whose queues
   * hold the same buffers.
   */
  writeShared(bytes: Uint8Array): void {
    this.#append(bytes)
  }

  /** Takes leave of the client; resolves when it has answered, or is not waited for. */
  async goAway(): Promise<void> {
    for (const exchange of [...this.#exchanges]) exchange.goAway()
    await this.frames?.goAway()
  }

  /** How many bytes Mongrel2 makes of some. */
  sizeOf({ length }: Uint8Array): number {
    return this.encoding === 'base64' ? 4 * Math.ceil(length / 3) : length
  }

  /** Resolves when more may be written; undefined when it may be at once. */
  writable(): Promise<void> | undefined {
    if (this.gone) return undefined
    if (this.#waiting >= this.pacing.waitingLimit) return this.#roomy()
    return this.#owner.publisher.full ? this.#owner.publisher.drained() : undefined
  }

  /**
   * Closes the connection when what was written has gone out, and its client has stopped sending: Mongrel2 would reset it, and what
   * was written could be lost. Requests still open are not answered any more.
   */
  close(): void {
    this.deaf = true
    if (this.gone || this.#closing) return
    this.frames?.lost()
    // Most connections have nothing open when they are closed, and an exception with its stack takes longer than an answer.
    if (this.upload !== undefined || this.#exchanges.length > 0 || this.#held.length > 0) {
      const reason = new DOMException('the connection was closed before this request was answered', 'AbortError')
      this.#abortAll(reason)
      if (this.upload?.streamed === true) {
        this.closeAfterUpload()
        return this.upload.drain(reason)
      }
    }
    this.closeNow()
  }

  /** Closes the connection when what was written has gone out, whatever its client still sends. */
  closeNow(): void {
    this.deaf = true
    if (this.gone || this.#closing) return
    this.#closing = true
    if (this.upload !== undefined) {
      this.upload.lost(new DOMException('the connection was closed before the body was complete', 'AbortError'))
    }
    this.#touch()
  }

  /** Closes the connection though not everything has gone out; the client finds its response cut short. */
  cut(): void {
    this.#outbox = []
    this.#waiting = 0
    this.close()
    this.closeNow()
  }

  /** How far what was written has come. */
  get progress(): WriteProgress {
    if (this.#waiting > 0) return 'waiting'
    return this.pacing.settled(performance.now()) ? 'delivered' : 'published'
  }

  /** Mongrel2 has written so many bytes. */
  credit(bytes: number): void {
    this.pacing.credited?.(bytes)
    if (this.#waiting > 0 || this.#closing) this.#touch()
  }

  /** The control port says that Mongrel2 has written so many bytes; returns whether that is news. */
  written(bytes: number, now: number): boolean {
    const moved = this.pacing.written?.(bytes, now) ?? false
    if (this.#waiting > 0 ? this.#allowance(now) > 0 : moved && this.#closing) this.#touch()
    return moved
  }

  /** The connection is no more: what waits is dropped, open exchanges are aborted. */
  lose(reason: DOMException): void {
    if (this.gone) return
    this.frames?.lost()
    this.#end()
    this.pacing.end?.()
    this.upload?.lost(reason)
    this.#abortAll(reason)
  }

  /** Appends what may go out now, as replies; called at the end of a turn. */
  take(replies: ReplyBatch, now: number): number {
    this.#touched = false
    if (this.#credits > 0 && !this.gone) replies.push(renderControl(this.sender, [this.id], { credits: this.#credits }))
    this.#credits = 0
    let bytes = 0
    while (this.#waiting > 0 && !this.gone) {
      if (this.#allowance(now) <= 0) break
      this.frames?.publishing(now)
      const size = this.#allowance(now)
      if (this.#shared && size === this.#waiting && !this.#closing) {
        replies.share(this.sender, this.id, this.#cut(size))
      } else replies.push(renderReply(this.sender, [this.id], this.#cut(size)))
      this.pacing.published(size, now)
      bytes += size
    }
    if (this.#waiting > 0) this.#waitToRetry(now)
    else if (this.#closing && !this.gone) this.#takeLast(replies, now)
    if (this.#waiting < this.pacing.waitingLimit) this.#makeRoom()
    return bytes
  }

  #append(bytes: Uint8Array): boolean {
    if (this.gone || this.#closing || bytes.length === 0) return false
    const size = this.sizeOf(bytes)
    this.#outbox.push(bytes)
    this.#waiting += size
    this.#position += size
    this.#touch()
    return true
  }

  #abortAll(reason: DOMException): void {
    for (const exchange of this.#exchanges.splice(0)) exchange.abort(reason)
    for (const message of this.#held.splice(0)) this.#owner.drop(message)
  }

  #admits(): boolean {
    return !this.#checking && (this.upload !== undefined || this.#exchanges.length < this.#maxPipelined)
  }

  #releaseHeld(): void {
    while (this.#held.length > 0 && this.#admits()) {
      const message = this.#held.shift() as Message
      if (this.deaf && this.upload === undefined) this.#owner.drop(message)
      else this.#owner.deal(message, this)
    }
    if (this.#overfull && this.#held.length === 0 && this.#exchanges.length === 0) this.close()
  }

  /** Takes the reply that closes the connection. */
  #takeLast(replies: ReplyBatch, now: number): void {
    const { upload, sender, id } = this
    if (upload?.streamed !== true) replies.push(renderReply(sender, [id], [CLOSE]))
    else if (upload.resettable && !this.secure && !this.#hasLateCredit && this.pacing.settled(now))
      replies.push(renderReset(sender, id))
    else for (const reply of renderCloseDuringBody(sender, id)) replies.push(reply)
    this.#end()
    this.#owner.closed(this)
  }

  /** The bytes of the next message. */
  #allowance(now: number): number {
    if (this.encoding === undefined) return this.pacing.allowance(this.#waiting, this.#isComplete(), now)
    // It is a message of its own, and cannot be cut.
    const size = this.sizeOf(this.#outbox[0] as Uint8Array)
    const allowed = this.pacing.allowance(size, true, now)
    return allowed >= size || (allowed > 0 && !this.pacing.strict) ? size : 0
  }

  #isSettled(now: number): boolean {
    return this.#waiting === 0 && this.pacing.settled(now)
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
    if (this.#waiting >= this.pacing.waitingLimit) this.#owner.stalled(this)
    this.#waitUntil(this.pacing.retryAt(now), now)
  }

  #waitUntil(at: number | undefined, now: number): void {
    if (at === undefined || at >= this.#retryAt) return
    clearTimeout(this.#retry)
    this.#retryAt = at
    this.#retry = setTimeout(
      () => {
        this.#retryAt = Number.POSITIVE_INFINITY
        if (!this.gone) this.#touch()
      },
      Math.max(1, at - now),
    )
  }

  #end(): void {
    this.gone = true
    this.deaf = true
    this.frames = undefined
    this.#outbox = []
    this.#waiting = 0
    clearTimeout(this.#retry)
    this.#makeRoom()
  }

  /** What made room here may have filled the publisher: a message that goes out now would carry no more than one chunk. */
  async #roomy(): Promise<void> {
    this.#room ??= deferred()
    await this.#room.promise
    if (!this.gone && this.#owner.publisher.full) await this.#owner.publisher.drained()
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
      this.#shared = true
      return all
    }
    if (this.encoding !== undefined) return this.#outbox.splice(0, 1)
    // What is left begins amid something.
    this.#shared = false
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
