import type { Message } from '../wire/message.ts'
import { closeReply, renderCloseDuringBody, renderControl, renderReset } from '../wire/reply.ts'
import type { ReplyBatch } from '../wire/reply-batch.ts'
import type { Probe } from '../wire/websocket/frames.ts'
import type { IncomingFrames, OpenExchange, StoredBody, StreamedBody } from './carried.ts'
import { Outbox, type OutboxConnection, type OutboxOwner } from './outbox.ts'
import type { Pacing } from './pacing/pacing.ts'
import { renderToken, type Token, type TokenKind, type TokenPlace } from './token.ts'

/** Upper bound of the messages of one connection that wait, each with a body of at most `limits.content_length`. */
const MOST_HELD = 128
/** How long a client may read nothing of what waits for it, in milliseconds. */
const STALL_TIME = 10_000

/** The phases of a connection, in this order. */
const PHASE = {
  open: 0,
  /** The open requests are answered, later input is ignored, then the connection is closed. */
  last: 1,
  /** The same, but another process answers: nothing is written, the connection is kept alive. */
  deferred: 2,
  /** The connection is closed when its upload is complete or the time for that is over. */
  lingering: 3,
  /** The end of the connection waits in the outbox. */
  closing: 4,
  gone: 5,
} as const

/** An empty list, as most connections have. A spread of it with one more would reserve many places. */
const NONE: readonly never[] = []

/** What a connection needs of its epoch. */
export interface ConnectionOwner extends OutboxOwner {
  /** Makes `take` be called at the end of this turn, or earlier for answers. */
  touch(connection: Connection): void
  deal(message: Message, connection: Connection): void
  drop(message: Message): void
  /** We closed the connection: Mongrel2 sends no notice of that. */
  closed(connection: Connection): void
  /** Another process answers. */
  deferred(connection: Connection): void
  /** Where other processes find the connection. */
  readonly place: TokenPlace
  /** Whether the server closes: sockets and endless responses have to end. */
  readonly leaving: boolean
  /** The ping of this turn: its pong shows what the client of a WebSocket has read. */
  readonly probe: Probe
}

/** One client's connection: the order of its exchanges, the body being received, and its phase. Its output waits in the outbox. */
export class Connection implements OutboxConnection {
  readonly id: number
  readonly sender: string
  readonly pacing: Pacing
  readonly outbox: Outbox
  /** Whether it carries one request only, as every connection of a gateway does. */
  single = false
  /** Whether it uses TLS. */
  secure = false
  /** The body being received: the next message is part of it. */
  upload: StoredBody | StreamedBody | undefined
  /** Its WebSocket, from the handshake on, or its message socket: it receives all further messages. */
  frames: IncomingFrames | undefined
  /** Why `take` will be called. */
  touched: 'output' | 'answer' | undefined
  readonly #owner: ConnectionOwner
  readonly #maxPipelined: number
  #phase: number = PHASE.open
  /** In the order of the requests, which is the order of the answers. */
  #exchanges: readonly OpenExchange[] = NONE
  /** Messages that wait until earlier requests are answered. */
  #held: readonly Message[] = NONE
  /** Whether more messages came than may wait. */
  #overfull = false
  /** A stored body is complete and being checked. */
  #checking = false
  #pipelining = false // its client has sent a request before it had read the earlier answers
  /** Credits for the body that are published at the end of this turn, in bytes. */
  #credits = 0
  /** Whether Mongrel2 may have received credits after their body was complete: it counts them for the next body. */
  #hasLateCredit = false

  /** @param maxPipelined Requests handled at once. */
  constructor(id: number, sender: string, pacing: Pacing, maxPipelined: number, owner: ConnectionOwner) {
    this.id = id
    this.sender = sender
    this.pacing = pacing
    this.outbox = new Outbox(pacing, this, owner)
    this.#maxPipelined = maxPipelined
    this.#owner = owner
  }

  get ignoresInput(): boolean {
    return this.#phase > PHASE.open
  }

  get deferred(): boolean {
    return this.#phase === PHASE.deferred
  }

  get gone(): boolean {
    return this.#phase === PHASE.gone
  }

  isIdle(now: number): boolean {
    return !this.busy && this.pacing.settled(now)
  }

  /** Whether a request is not complete or not answered in full, a socket is open, or something waits to be published. */
  get busy(): boolean {
    return this.#exchanges.length > 0 || !this.outbox.empty || this.upload !== undefined || this.frames !== undefined
  }

  /** Whether this process has to finish something on it. */
  get unfinished(): boolean {
    return this.busy && !this.deferred
  }

  /** Whether it waits for its client to send more of the body of its only request. */
  get awaitsClient(): boolean {
    const { upload } = this
    if (upload === undefined || this.#exchanges.length > 1 || this.outbox.waiting > 0) return false
    return !upload.streamed || upload.awaited
  }

  /** Whether it needs more messages from Mongrel2 to finish: credits for an answer, or parts of a body. */
  get needsMessages(): boolean {
    if (this.frames !== undefined || this.gone || this.deferred) return false
    return this.upload?.streamed === true || (this.pacing.mode === 'credits' && this.busy)
  }

  get leaving(): boolean {
    return this.#owner.leaving
  }

  /** The ping whose pong shows what the client of a WebSocket has read; undefined where none is needed. */
  probe(now: number): Probe | undefined {
    if (!this.outbox.wantsProbe(now)) return undefined
    this.pacing.probed?.(now)
    return this.#owner.probe
  }

  /** Bytes that Mongrel2 has not written, for the process that takes over the connection; undefined when it cannot be handed over. */
  unwrittenBytes(now: number): number | undefined {
    // The answer of the other process to a client that pipelines could overtake ours.
    return this.busy || (this.#pipelining && !this.pacing.settled(now)) ? undefined : this.pacing.unwrittenBytes
  }

  get complete(): boolean {
    return this.#exchanges.length === 0 || this.#phase === PHASE.closing
  }

  /** Whether a message has to wait: for earlier answers, for the check of a body, or behind another message that waits. */
  get crowded(): boolean {
    return this.#held.length > 0 || this.#overfull || !this.#admits()
  }

  /** Keeps a message that has to wait. Returns false when too many wait; the connection then closes after them. */
  hold(message: Message): boolean {
    if (this.#held.length >= MOST_HELD) this.#overfull = true
    if (this.#overfull) return false
    this.#held = [...this.#held, message]
    return true
  }

  /** Makes messages wait while a complete stored body is checked. */
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

  /** Adds the exchange of a new request. */
  open(exchange: OpenExchange): void {
    // A new request proves that the client has read the answers, unless it pipelines.
    this.#pipelining =
      this.#exchanges.length > 0 ||
      this.outbox.waiting > 0 ||
      (this.#pipelining && !this.pacing.settled(performance.now()))
    if (this.#pipelining) this.pacing.messageReceived?.(performance.now())
    else this.pacing.asked?.()
    this.#exchanges = this.#exchanges.length === 0 ? [exchange] : [...this.#exchanges, exchange]
    this.single = exchange.semantics.single
    if (!exchange.semantics.persistent || this.single) this.ignoreInput()
  }

  isFirst(exchange: OpenExchange): boolean {
    return this.#exchanges[0] === exchange
  }

  advance(): void {
    this.#exchanges[0]?.begin()
  }

  /** Ends the first exchange: its answer is written, in full or in part. */
  finish(exchange: OpenExchange, reusable: boolean): void {
    if (this.#exchanges[0] !== exchange) return
    this.#exchanges = this.#exchanges.length > 1 ? this.#exchanges.slice(1) : NONE
    if (reusable) {
      this.advance()
      this.#releaseHeld()
    } else if (this.#exchanges.length === 0 && this.upload !== undefined) {
      this.closeAfterUpload()
      // A task of `waitUntil` may still read a streamed one.
      if (!this.upload.streamed) this.upload.drain()
    } else this.close()
    this.touch(this.outbox.shared ? 'output' : 'answer')
  }

  /** Leaves the answer of the first exchange to another process. Later requests are not answered. */
  defer(exchange: OpenExchange): void {
    this.#enter(PHASE.deferred)
    this.#exchanges = this.#exchanges.slice(1)
    this.#abortAll(new DOMException('the connection is closed by the answer to an earlier request', 'AbortError'))
    this.#exchanges = [exchange]
    this.#owner.deferred(this)
  }

  cancelDeferralTimer(): void {
    for (const exchange of this.#exchanges) exchange.cancelDeferralTimer()
  }

  /** Makes a token with which another process can answer the client. */
  token(use: Pick<Token, 'kind' | 'deadline' | 'method' | 'http10'>): string {
    const { sender, id } = this
    const flowControl = this.pacing.mode === 'credits'
    return renderToken({ ...use, ...this.#owner.place, sender, id, madeAt: Date.now(), flowControl })
  }

  /** Makes a token with which other processes can write to the client at any time, beside this one. */
  sharedToken(kind: TokenKind): string {
    this.pacing.share?.()
    return this.token({ kind, deadline: 0, method: '', http10: false })
  }

  /** Lets Mongrel2 send so many more bytes of a body. */
  grant(credits: number): void {
    this.#credits += credits
    this.touch()
  }

  endUpload(): void {
    this.upload = undefined
    this.#credits = 0
    this.#hasLateCredit = true
    this.touch()
    this.#afterUpload()
  }

  /** Gives up a stored upload whose end will not come here. */
  forgetUpload(): void {
    this.upload?.lost(new DOMException('the server is stopping', 'AbortError'))
    this.upload = undefined
    if (this.#phase === PHASE.lingering) this.close()
  }

  /** Ignores new input: the connection closes after its open requests. */
  ignoreInput(): void {
    this.#enter(PHASE.last)
  }

  closeAfterUpload(): void {
    this.#enter(PHASE.lingering)
  }

  /** Ends endless responses and closes a socket, since the server closes. Resolves when the socket's client has answered. */
  async goAway(): Promise<void> {
    for (const exchange of this.#exchanges) exchange.goAway()
    await this.frames?.goAway()
  }

  /** Closes the connection after its output and its client's body, since a reset may lose output. Open requests are not answered. */
  close(): void {
    if (this.#phase >= PHASE.closing) return
    this.ignoreInput()
    this.frames?.lost()
    // Most connections have nothing open here, and making a DOMException takes longer than an answer.
    if (this.upload !== undefined || this.#exchanges.length > 0 || this.#held.length > 0) {
      const reason = new DOMException('the connection was closed before this request was answered', 'AbortError')
      this.#abortAll(reason)
      if (this.upload !== undefined) {
        this.closeAfterUpload()
        return this.upload.drain(reason)
      }
    }
    this.closeNow()
  }

  /** Closes the connection after its output, even if its client still sends. */
  closeNow(): void {
    if (!this.#enter(PHASE.closing)) return
    if (this.upload !== undefined)
      this.upload.lost(new DOMException('the connection was closed before the body was complete', 'AbortError'))
    this.outbox.end()
  }

  /** Closes the connection and drops its output: the client gets an incomplete response. */
  cut(): void {
    this.outbox.drop()
    this.close()
    this.closeNow()
    this.touch()
  }

  /** Cuts the connection when its client reads nothing for ten seconds, or has read everything and stays. Returns a function that stops this. */
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

  /** Drops the output and aborts the exchanges: the client or Mongrel2 has ended the connection. */
  lose(reason: DOMException): void {
    if (this.gone) return
    this.frames?.lost()
    this.#end()
    this.pacing.end?.()
    this.upload?.lost(reason)
    this.#abortAll(reason)
  }

  touch(reason: 'output' | 'answer' = 'output'): void {
    if (this.touched === reason || this.touched === 'answer') return
    this.touched = reason
    this.#owner.touch(this)
  }

  /** Appends the replies that may be published now, at the end of a turn. Returns the number of their bytes for the client. */
  take(replies: ReplyBatch, now: number): number {
    this.touched = undefined
    if (this.#credits > 0 && !this.gone) replies.push(renderControl(this.sender, [this.id], { credits: this.#credits }))
    this.#credits = 0
    const bytes = this.outbox.take(replies, now, this.frames)
    if (this.outbox.atEnd) this.#takeEnd(replies, now)
    return bytes
  }

  #takeEnd(replies: ReplyBatch, now: number): void {
    const { upload, sender, id } = this
    if (upload?.streamed !== true) replies.push(closeReply(sender, [id]))
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

  /** Enters a phase. Returns false when it has been reached before. */
  #enter(phase: number): boolean {
    if (phase <= this.#phase) return false
    this.#phase = phase
    return true
  }

  #abortAll(reason: DOMException): void {
    const [exchanges, held] = [this.#exchanges, this.#held]
    this.#exchanges = NONE
    this.#held = NONE
    for (const exchange of exchanges) exchange.abort(reason)
    for (const message of held) this.#owner.drop(message)
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
      const [message] = this.#held as [Message]
      this.#held = this.#held.slice(1)
      if (this.ignoresInput && this.upload === undefined) this.#owner.drop(message)
      else this.#owner.deal(message, this)
    }
    if (this.#overfull && this.#held.length === 0 && this.#exchanges.length === 0) this.close()
  }
}
