import type { Message } from '../wire/message.ts'
import { CLOSE, renderCloseDuringBody, renderControl, renderReply, renderReset } from '../wire/reply.ts'
import type { ReplyBatch } from '../wire/reply-batch.ts'
import type { Probe } from '../wire/websocket/frames.ts'
import type { IncomingFrames, OpenExchange, StoredBody, StreamedBody } from './carried.ts'
import { Outbox, type OutboxConnection, type OutboxOwner } from './outbox.ts'
import type { Pacing } from './pacing/pacing.ts'
import { renderToken, type Token, type TokenKind, type TokenPlace } from './token.ts'

/** Messages of one connection that may wait, each with a body of at most `limits.content_length`. */
const MOST_HELD = 128
/** How long a client may take nothing of what waits for it, in milliseconds. */
const STALL_TIME = 10_000

/** What becomes of a connection, in this order. */
const PHASE = {
  open: 0,
  /** It is closed after what is open: what its client sends now is not answered. */
  last: 1,
  /** The same, and its answer is left to others: nothing is written, but it is kept alive. */
  deferred: 2,
  /** It is closed when its upload is complete, or its client has had its time: not before. */
  lingering: 3,
  /** Its end waits in the outbox. */
  closing: 4,
  gone: 5,
} as const

/** What a connection asks of its epoch. */
export interface ConnectionOwner extends OutboxOwner {
  /** At the end of this turn `take` is called. */
  touch(connection: Connection): void
  /** A message that had to wait may be dealt with. */
  deal(message: Message, connection: Connection): void
  /** A message will not be dealt with. */
  drop(message: Message): void
  /** The connection was closed by us: Mongrel2 sends no notice of that. */
  closed(connection: Connection): void
  /** Its answer is left to others. */
  deferred(connection: Connection): void
  /** Where others find the connection. */
  readonly place: TokenPlace
  /** Whether the server closes: what has no end has to end. */
  readonly leaving: boolean
  /** The ping of this turn, which asks clients of WebSockets what they have read. */
  readonly probe: Probe
}

/** One client's connection: the order of its exchanges, the body under way, and its phase. What goes out waits in the outbox. */
export class Connection implements OutboxConnection {
  readonly id: number
  readonly sender: string
  readonly pacing: Pacing
  readonly outbox: Outbox
  /** Whether its request is its only one, as each is that a gateway passes on. */
  single = false
  /** Whether it uses TLS. */
  secure = false
  /** The body that is under way: the next message is part of it. */
  upload: StoredBody | StreamedBody | undefined
  /** Its WebSocket, from the handshake on, or its message socket: nothing but frames or messages comes now. */
  frames: IncomingFrames | undefined
  readonly #owner: ConnectionOwner
  readonly #maxPipelined: number
  #phase: number = PHASE.open
  /** In the order of the requests, which the answers have to keep. */
  readonly #exchanges: OpenExchange[] = []
  /** Messages that wait until requests before them are answered. */
  readonly #held: Message[] = []
  /** More came than may wait. */
  #overfull = false
  /** A stored body is complete and being checked. */
  #checking = false
  /** The client has sent requests before it had the answers to earlier ones. */
  #pipelining = false
  #touched = false
  /** Bytes of the body that Mongrel2 may send from the end of this turn on. */
  #credits = 0
  /** Whether credits may have come to Mongrel2 when the body for which they were granted was complete: they count for the next. */
  #hasLateCredit = false

  /** @param maxPipelined Requests that are worked on at once. */
  constructor(id: number, sender: string, pacing: Pacing, maxPipelined: number, owner: ConnectionOwner) {
    this.id = id
    this.sender = sender
    this.pacing = pacing
    this.outbox = new Outbox(pacing, this, owner)
    this.#maxPipelined = maxPipelined
    this.#owner = owner
  }

  /** Whether it is closed after what is open: what its client sends now is not answered. */
  get ignoresInput(): boolean {
    return this.#phase > PHASE.open
  }

  /** Whether the answer is left to others. */
  get deferred(): boolean {
    return this.#phase === PHASE.deferred
  }

  /** Whether either side has ended it: nothing can be written any more. */
  get gone(): boolean {
    return this.#phase === PHASE.gone
  }

  /** Whether nothing of it has to be remembered. */
  isIdle(now: number): boolean {
    return !this.busy && this.pacing.settled(now)
  }

  /** Whether a request is not complete or not answered in full, a socket is open, or something waits to be published. */
  get busy(): boolean {
    return this.#exchanges.length > 0 || !this.outbox.empty || this.upload !== undefined || this.frames !== undefined
  }

  /** Whether it is busy with something that this process has to finish. */
  get unfinished(): boolean {
    return this.busy && !this.deferred
  }

  /** Whether the next step is its client's: to send more of the body of its only request. */
  get awaitsClient(): boolean {
    const { upload } = this
    if (upload === undefined || this.#exchanges.length > 1 || this.outbox.waiting > 0) return false
    return !upload.streamed || upload.awaited
  }

  /** Whether it cannot be finished without more from Mongrel2: credits for an answer, or parts of a body. */
  get needsMessages(): boolean {
    if (this.frames !== undefined || this.gone || this.deferred) return false
    return this.upload?.streamed === true || (this.pacing.mode === 'credits' && this.busy)
  }

  /** Whether what has no end has to end. */
  get leaving(): boolean {
    return this.#owner.leaving
  }

  /** The ping that asks the client of a WebSocket what it has read; undefined where that is not worth it. */
  probe(now: number): Probe | undefined {
    if (!this.outbox.wantsProbe(now)) return undefined
    this.pacing.probed?.(now)
    return this.#owner.probe
  }

  /**
   * Bytes that Mongrel2 has not written, when another process may go on with the connection. Undefined when something is open on it, or its
   * client sends requests before it has read the answers: the other's answer could overtake ours.
   */
  unwrittenBytes(now: number): number | undefined {
    return this.busy || (this.#pipelining && !this.pacing.settled(now)) ? undefined : this.pacing.unwrittenBytes
  }

  /** Whether no more bytes are expected soon. */
  get complete(): boolean {
    return this.#exchanges.length === 0 || this.#phase === PHASE.closing
  }

  /** Whether a message has to wait: for answers to requests before it, for the check of a body, or behind a message that waits. */
  get crowded(): boolean {
    return this.#held.length > 0 || this.#overfull || !this.#admits()
  }

  /** Keeps a message that has to wait; false when too many do. Then the connection is closed after the others. */
  hold(message: Message): boolean {
    if (this.#held.length >= MOST_HELD) this.#overfull = true
    if (this.#overfull) return false
    this.#held.push(message)
    return true
  }

  /** The end of a stored body came: what follows waits until it is checked. */
  async check(work: Promise<void>): Promise<void> {
    this.upload = undefined
    this.#checking = true
    try {
      await work
    } finally {
      this.#checking = false
      this.#afterUpload()
    }
  }

  /** A request came: its answer goes out after those of the ones before it. */
  open(exchange: OpenExchange): void {
    // A client that has pipelined may do so again: its request proves nothing before it must have read everything.
    this.#pipelining =
      this.#exchanges.length > 0 ||
      this.outbox.waiting > 0 ||
      (this.#pipelining && !this.pacing.settled(performance.now()))
    if (this.#pipelining) this.pacing.heard?.(performance.now())
    else this.pacing.asked?.()
    this.#exchanges.push(exchange)
    this.single = exchange.facts.single
    if (!exchange.facts.persistent || this.single) this.ignoreInput()
  }

  /** Whether an exchange is the one whose turn it is. */
  isFirst(exchange: OpenExchange): boolean {
    return this.#exchanges[0] === exchange
  }

  /** Starts the answer whose turn it is, once it is there. */
  advance(): void {
    this.#exchanges[0]?.begin()
  }

  /** The answer of the first exchange was handed over in full, or as far as it came. */
  finish(exchange: OpenExchange, reusable: boolean): void {
    if (this.#exchanges[0] !== exchange) return
    this.#exchanges.shift()
    if (reusable) {
      this.advance()
      this.#releaseHeld()
      this.touch()
    } else if (this.#exchanges.length === 0 && this.upload !== undefined) {
      this.closeAfterUpload()
      // What `waitUntil` waits for may still read a streamed one.
      if (!this.upload.streamed) this.upload.drain()
    } else this.close()
  }

  /** Leaves the answer of the first exchange to others. The requests behind it will not be answered. */
  defer(exchange: OpenExchange): void {
    this.#enter(PHASE.deferred)
    this.#exchanges.shift()
    this.#abortAll('the connection is closed by the answer to a request before this one')
    this.#exchanges.push(exchange)
    this.#owner.deferred(this)
  }

  /** Leaves what is deferred to others for good. */
  cancelDeferralTimer(): void {
    for (const exchange of this.#exchanges) exchange.cancelDeferralTimer()
  }

  /** Makes a token by which others can write to the client once. */
  token(use: Pick<Token, 'kind' | 'deadline' | 'method' | 'http10'>): string {
    const { sender, id } = this
    const flowControl = this.pacing.mode === 'credits'
    return renderToken({ ...use, ...this.#owner.place, sender, id, madeAt: Date.now(), flowControl })
  }

  /** Makes a token by which others can write to the client at any time, beside us. */
  sharedToken(kind: TokenKind): string {
    this.pacing.share?.()
    return this.token({ kind, deadline: 0, method: '', http10: false })
  }

  /** Lets Mongrel2 send so many bytes more of a body. */
  grant(credits: number): void {
    this.#credits += credits
    this.touch()
  }

  /** The streamed upload is complete. */
  endUpload(): void {
    this.upload = undefined
    this.#credits = 0
    this.#hasLateCredit = true
    this.touch()
    this.#afterUpload()
  }

  /** The end of a stored upload will not come here. */
  forgetUpload(): void {
    this.upload?.lost(new DOMException('the server is stopping', 'AbortError'))
    this.upload = undefined
    if (this.#phase === PHASE.lingering) this.close()
  }

  /** Answers no more requests than there are, and closes then. */
  ignoreInput(): void {
    this.#enter(PHASE.last)
  }

  /** Closes the connection when its upload is complete, or its client has had its time. */
  closeAfterUpload(): void {
    this.#enter(PHASE.lingering)
  }

  /** The server closes: what has no end ends, and a socket is closed. Resolves when its client has answered. */
  async goAway(): Promise<void> {
    for (const exchange of [...this.#exchanges]) exchange.goAway()
    await this.frames?.goAway()
  }

  /**
   * Closes the connection when what was written has gone out and its client has stopped sending: Mongrel2 would reset it, and what was written
   * could be lost. Requests still open are not answered any more.
   */
  close(): void {
    if (this.#phase >= PHASE.closing) return
    this.ignoreInput()
    this.frames?.lost()
    // Most connections have nothing open when they are closed, and an exception with its stack takes longer than an answer.
    if (this.upload !== undefined || this.#exchanges.length > 0 || this.#held.length > 0) {
      const reason = this.#abortAll('the connection was closed before this request was answered')
      if (this.upload !== undefined) {
        this.closeAfterUpload()
        return this.upload.drain(reason)
      }
    }
    this.closeNow()
  }

  /** Closes the connection when what was written has gone out, whatever its client still sends. */
  closeNow(): void {
    if (!this.#enter(PHASE.closing)) return
    if (this.upload !== undefined) {
      this.upload.lost(new DOMException('the connection was closed before the body was complete', 'AbortError'))
    }
    this.outbox.end()
  }

  /** Closes the connection though not everything has gone out: the client finds its response cut short. */
  cut(): void {
    this.outbox.drop()
    this.close()
    this.closeNow()
    this.touch()
  }

  /** Cuts the connection when its client takes nothing of what waits for ten seconds, or has all of it and does not leave; returns how to stop. */
  closeIfStalled(): () => void {
    let before = Number.POSITIVE_INFINITY
    const check = () => {
      const left = this.outbox.undelivered()
      if (left === 0 || left >= before) {
        clearInterval(timer)
        this.cut()
      }
      before = left
    }
    const timer = setInterval(check, STALL_TIME).unref()
    return () => clearInterval(timer)
  }

  /** The client or Mongrel2 has ended the connection: what waits is dropped, open exchanges are aborted. */
  lose(reason: DOMException): void {
    if (this.gone) return
    this.frames?.lost()
    this.#end()
    this.pacing.end?.()
    this.upload?.lost(reason)
    this.#abortAll(reason)
  }

  touch(): void {
    if (this.#touched) return
    this.#touched = true
    this.#owner.touch(this)
  }

  /** Appends what may be published now, at the end of a turn; returns how many bytes for the client that is. */
  take(replies: ReplyBatch, now: number): number {
    this.#touched = false
    if (this.#credits > 0 && !this.gone) replies.push(renderControl(this.sender, [this.id], { credits: this.#credits }))
    this.#credits = 0
    const bytes = this.outbox.take(replies, now, this.frames)
    if (this.outbox.atEnd) this.#takeEnd(replies, now)
    return bytes
  }

  /** Takes the reply that closes the connection. */
  #takeEnd(replies: ReplyBatch, now: number): void {
    const { upload, sender, id } = this
    if (upload?.streamed !== true) replies.push(renderReply(sender, [id], [CLOSE]))
    else if (upload.resettable && !this.secure && !this.#hasLateCredit && this.pacing.settled(now))
      replies.push(renderReset(sender, id))
    else for (const reply of renderCloseDuringBody(sender, id)) replies.push(reply)
    this.#end()
    this.#owner.closed(this)
  }

  #end(): void {
    this.#phase = PHASE.gone
    this.frames = undefined
    this.outbox.close()
  }

  /** Goes on to a phase; false when it is there, or further. */
  #enter(phase: number): boolean {
    if (phase <= this.#phase) return false
    this.#phase = phase
    return true
  }

  #abortAll(why: string | DOMException): DOMException {
    const reason = typeof why === 'string' ? new DOMException(why, 'AbortError') : why
    for (const exchange of this.#exchanges.splice(0)) exchange.abort(reason)
    for (const message of this.#held.splice(0)) this.#owner.drop(message)
    return reason
  }

  #afterUpload(): void {
    if (this.#phase === PHASE.lingering) this.close()
    else this.#releaseHeld()
  }

  #admits(): boolean {
    return !this.#checking && (this.upload !== undefined || this.#exchanges.length < this.#maxPipelined)
  }

  #releaseHeld(): void {
    while (this.#held.length > 0 && this.#admits()) {
      const message = this.#held.shift() as Message
      if (this.ignoresInput && this.upload === undefined) this.#owner.drop(message)
      else this.#owner.deal(message, this)
    }
    if (this.#overfull && this.#held.length === 0 && this.#exchanges.length === 0) this.close()
  }
}
