import { isUtf8 } from 'node:buffer'
import type { IncomingFrames } from '../connection/carried.ts'
import type { Connection } from '../connection/connection.ts'
import { SendLedger } from '../connection/send-ledger.ts'
import type { Audience, Budget, SharedMessage, Subscriber } from '../connection/shared-message.ts'
import { asError } from '../runtime/log.ts'
import type { Message } from '../wire/message.ts'
import {
  CLOSE_CODE,
  type CloseStatus,
  type FrameFlags,
  OPCODE,
  Probe,
  parseClosePayload,
  parseFlags,
  renderClose,
  renderFrame,
  WebSocketFault,
} from '../wire/websocket/frames.ts'
import type { CloseEventInit } from './events.ts'
import type { PerMessageDeflate } from './permessage-deflate.ts'
import { TaskChain } from './task-chain.ts'

/** Bytes of messages that may wait to be decompressed, beside the one that is: the client sends them quicker than we can. */
const MOST_INCOMING = 16 * 1024 * 1024
/** Bytes of pongs that may wait, beside the messages: a client that pings without reading is no client. */
const MOST_PONG_BYTES = 256 * 1024
/** What a message costs while it waits, however short it is. */
const MESSAGE_COST = 512

/** The states of a WebSocket by the standard's numbers. */
export const READY_STATE = { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 } as const
export type ReadyState = (typeof READY_STATE)[keyof typeof READY_STATE]

/** What a session tells the socket that the user has. */
export interface SessionEvents {
  opened(): void
  message(data: string | Buffer): void
  failed(error: Error): void
  closed(status: CloseEventInit): void
}

/** What a session has to know, checked. */
export interface SessionSettings {
  /** Bytes that a message may have. */
  readonly maxPayload: number
  /** Milliseconds after which a silent client is given up; 0 is never. */
  readonly idleTimeout: number
  /** Bytes of messages that may wait for the client. */
  readonly maxBufferedBytes: number
  /** Bytes from which on messages are compressed. */
  readonly threshold: number
}

/** One WebSocket on one connection: what its client and its user say, by the rules of RFC 6455. */
export class Session implements IncomingFrames, Subscriber {
  readonly takes = 'frame'
  readonly #connection: Connection
  readonly #settings: SessionSettings
  readonly #deflate: PerMessageDeflate | undefined
  readonly #events: SessionEvents
  readonly #incoming = new TaskChain()
  readonly #outgoing = new TaskChain()
  readonly #ledger = new SendLedger()
  #state: ReadyState = READY_STATE.CONNECTING
  #token: string | undefined
  /** Bytes of messages that wait to be decompressed. */
  #incomingBytes = 0
  /** Bytes of messages that are not frames yet. */
  #unframed = 0
  /** Bytes that were given to `send` when nothing could be sent any more, and what was not delivered at the end. */
  #unsent = 0
  /** What our close frame says or will say. */
  #saying: CloseStatus | undefined
  /** Whether our close frame was written: no frame follows it. */
  #said = false
  /** The ping that has not been answered, and where in the connection's bytes it ends. */
  #probed: { readonly number: number; readonly position: number } | undefined
  /** When the client was heard, in milliseconds of `performance.now()`. */
  #heard = 0
  #idleTimer: NodeJS.Timeout | undefined
  #stopWaiting: (() => void) | undefined
  /** Those that it gets messages with. */
  #audiences: Set<Audience> | undefined
  #whenClosed: (() => void) | undefined

  constructor(
    connection: Connection,
    settings: SessionSettings,
    deflate: PerMessageDeflate | undefined,
    events: SessionEvents,
  ) {
    this.#connection = connection
    this.#settings = settings
    this.#deflate = deflate
    this.#events = events
  }

  get state(): ReadyState {
    return this.#state
  }

  /** Bytes of messages that have not been delivered, as far as can be known, headers of frames left out. */
  get bufferedAmount(): number {
    return this.#state === READY_STATE.CLOSED ? this.#unsent : this.#buffered(performance.now())
  }

  #buffered(now: number): number {
    const { outbox } = this.#connection
    return this.#unframed + this.#unsent + this.#ledger.undelivered(outbox.position - outbox.undelivered(now))
  }

  /** What others can send to the client by. */
  get token(): string {
    this.#token ??= this.#connection.sharedToken('websocket')
    return this.#token
  }

  /** The handshake was answered: frames may come and go. */
  open(): void {
    if (this.#state === READY_STATE.CLOSED) return
    if (this.#settings.idleTimeout > 0) this.#watch()
    if (this.#saying !== undefined) return this.#writeClose(this.#saying)
    this.#state = READY_STATE.OPEN
    this.#events.opened()
  }

  /** Sends a message; what has to be read first keeps its place. */
  send(data: string | Buffer | Blob): void {
    const opcode = typeof data === 'string' ? OPCODE.text : OPCODE.binary
    const payload = typeof data === 'string' ? Buffer.from(data) : data
    const size = payload instanceof Blob ? payload.size : payload.length
    if (this.#state !== READY_STATE.OPEN) {
      this.#unsent += size
      return
    }
    const buffered = this.bufferedAmount
    if (buffered > 0 && buffered + size > this.#settings.maxBufferedBytes) return this.#overflow(size)
    const compress = this.#deflate !== undefined && size >= this.#settings.threshold
    if (!compress && payload instanceof Buffer && !this.#outgoing.busy) {
      return this.#writeMessage(renderFrame(opcode, payload), size)
    }
    this.#unframed += size
    // The user may use his buffer again at once.
    const kept = payload instanceof Buffer ? Buffer.from(payload) : payload
    this.#outgoing.add(async () => {
      const frame = await this.#frameOf(opcode, kept, compress)
      if (frame !== undefined) this.#writeMessage(frame, size)
      this.#unframed -= size
    })
  }

  join(audience: Audience): boolean {
    if (this.#state === READY_STATE.CLOSED) return false
    this.#audiences ??= new Set()
    this.#audiences.add(audience)
    return true
  }

  leave(audience: Audience): void {
    this.#audiences?.delete(audience)
  }

  /** Sends what others get, too: not compressed, since that would be another's. */
  deliver(message: SharedMessage, { maxBufferedBytes, whenSlow }: Budget, now: number): void {
    if (this.#state !== READY_STATE.OPEN) return
    const { size } = message
    const buffered = this.#buffered(now)
    if (buffered > 0 && buffered + size > maxBufferedBytes) {
      if (whenSlow === 'close') this.close({ code: CLOSE_CODE.tryAgainLater, reason: 'too slow' })
    } else if (!this.#outgoing.busy) this.#writeShared(message)
    else {
      this.#unframed += size
      this.#outgoing.add(() => {
        this.#writeShared(message)
        this.#unframed -= size
      })
    }
  }

  /** Begins the close handshake from our side. */
  close(status: CloseStatus): void {
    if (this.#state >= READY_STATE.CLOSING) return
    const connecting = this.#state === READY_STATE.CONNECTING
    this.#state = READY_STATE.CLOSING
    this.#saying = status
    if (!connecting) this.#outgoing.add(() => this.#writeClose(status))
  }

  receive({ headers, body, cut }: Message): void {
    if (this.#state === READY_STATE.CLOSED) return
    this.#heard = performance.now()
    if (cut) return this.fail(this.#tooBig())
    const flags = parseFlags(headers.own('FLAGS') ?? '')
    if (flags?.rsv1 !== true && !this.#incoming.busy) return this.#handle(flags, body)
    const cost = body.length + MESSAGE_COST
    this.#incomingBytes += cost
    if (this.#incomingBytes > MOST_INCOMING + this.#settings.maxPayload) {
      return this.fail(new WebSocketFault(CLOSE_CODE.policyViolation, 'messages come too fast'))
    }
    this.#incoming.add(async () => {
      if (flags?.rsv1 === true) await this.#handleCompressed(flags, body)
      else this.#handle(flags, body)
      this.#incomingBytes -= cost
    })
  }

  /**
   * Where nobody tells what the client has read, it is asked itself: otherwise messages would have to wait until it surely has. The
   * ping is the end of what Mongrel2 takes as one message, so that its pong settles all of that, and makes room.
   */
  publishing(now: number): void {
    if (this.#said || this.#probed !== undefined) return
    const probe = this.#connection.probe(now)
    if (probe === undefined) return
    this.#connection.outbox.writeShared(probe.frame)
    this.#probed = { number: probe.number, position: this.#connection.outbox.position }
  }

  lost(): void {
    this.#end({ code: CLOSE_CODE.abnormal, reason: '', wasClean: false })
  }

  /** The handshake was not accepted (WebSockets standard, "fail the WebSocket connection"). */
  refused(error: Error): void {
    this.#end({ code: CLOSE_CODE.abnormal, reason: '', wasClean: false }, error)
  }

  goAway(): Promise<void> {
    this.close({ code: CLOSE_CODE.goingAway, reason: '' })
    if (this.#state === READY_STATE.CLOSED) return Promise.resolve()
    return new Promise((resolve) => {
      this.#whenClosed = resolve
    })
  }

  end(): void {
    this.close({ code: CLOSE_CODE.goingAway, reason: '' })
    this.#outgoing.add(() => this.#connection.close())
  }

  #handle(flags: FrameFlags | undefined, payload: Buffer): void {
    if (this.#state === READY_STATE.CLOSED) return
    try {
      this.#take(this.#checked(flags, payload), payload)
    } catch (error) {
      this.fail(error)
    }
  }

  async #handleCompressed(flags: FrameFlags, payload: Buffer): Promise<void> {
    if (this.#state === READY_STATE.CLOSED) return
    try {
      const isMessage = flags.opcode === OPCODE.text || flags.opcode === OPCODE.binary
      if (this.#deflate === undefined || !isMessage) throw protocolError('a reserved bit')
      const opcode = this.#checked({ ...flags, rsv1: false }, payload)
      const inflated = await this.#deflate.inflate(payload)
      if (this.#isOpen()) this.#take(opcode, inflated)
    } catch (error) {
      this.fail(error)
    }
  }

  /** The frame's opcode. Mongrel2 has joined what came in several frames, and lets through no control frame that is too long. */
  #checked(flags: FrameFlags | undefined, payload: Buffer): number {
    if (flags?.fin !== true) throw protocolError('a part of a message')
    const { opcode, rsv1, rsv2, rsv3 } = flags
    if (rsv1 || rsv2 || rsv3) throw protocolError('a reserved bit')
    if (payload.length > this.#settings.maxPayload && opcode < OPCODE.close) {
      throw this.#tooBig()
    }
    return opcode
  }

  #tooBig(): WebSocketFault {
    return new WebSocketFault(CLOSE_CODE.tooBig, `a message of more than ${this.#settings.maxPayload} bytes`)
  }

  #take(opcode: number, payload: Buffer): void {
    switch (opcode) {
      case OPCODE.text:
        if (!isUtf8(payload)) throw new WebSocketFault(CLOSE_CODE.invalidPayload, 'a text that is not UTF-8')
        if (this.#state === READY_STATE.OPEN) this.#events.message(payload.toString())
        return
      case OPCODE.binary:
        if (this.#state === READY_STATE.OPEN) this.#events.message(payload)
        return
      case OPCODE.close:
        return this.#takeClose(parseClosePayload(payload))
      case OPCODE.ping:
        return this.#pong(payload)
      case OPCODE.pong:
        return this.#takePong(payload)
      default:
        throw protocolError(`a frame of the kind ${opcode}`)
    }
  }

  /** The client's close frame: answered, unless it answers ours. */
  #takeClose(status: CloseStatus): void {
    // An answer to ours comes behind all that was sent: it was read.
    if (this.#said) this.#ledger.undelivered(this.#connection.outbox.position)
    this.#say(status)
    this.#end({ ...status, wasClean: true })
    this.#connection.close()
  }

  #pong(payload: Buffer): void {
    if (this.#said) return
    if (this.#connection.outbox.undelivered() > this.#settings.maxBufferedBytes + MOST_PONG_BYTES) {
      throw new WebSocketFault(CLOSE_CODE.policyViolation, 'pings whose answers are not read')
    }
    const answer = () => {
      if (!this.#said) this.#connection.outbox.write(renderFrame(OPCODE.pong, payload))
    }
    // Who pings behind a message finds the answer behind what was sent for it.
    if (this.#outgoing.busy) this.#outgoing.add(answer)
    else answer()
  }

  /** A ping comes back when the client has read all that was written before it. */
  #takePong(payload: Buffer): void {
    if (this.#probed === undefined || Probe.numberIn(payload) !== this.#probed.number) return
    this.#connection.outbox.acknowledged(this.#probed.position)
    this.#probed = undefined
    // Behind what waits the next ping goes out with it.
    if (this.#connection.outbox.waiting === 0) this.publishing(performance.now())
  }

  /** Asks for a sign of life. */
  #ping(): void {
    if (!this.#said) this.#connection.outbox.write(renderFrame(OPCODE.ping, Buffer.alloc(0)))
  }

  async #frameOf(opcode: number, data: Buffer | Blob, compress: boolean): Promise<Buffer | undefined> {
    if (!this.#isOpen()) return undefined
    try {
      const payload = data instanceof Blob ? Buffer.from(await data.arrayBuffer()) : data
      if (!compress || this.#deflate === undefined) return renderFrame(opcode, payload)
      return renderFrame(opcode, await this.#deflate.deflate(payload), true)
    } catch (error) {
      this.fail(error)
      return undefined
    }
  }

  #writeMessage(frame: Buffer, size: number): void {
    if (!this.#isOpen()) return
    this.#connection.outbox.write(frame)
    this.#ledger.add(this.#connection.outbox.position, size)
  }

  #writeShared({ frame, size }: SharedMessage): void {
    if (!this.#isOpen()) return
    this.#connection.outbox.writeShared(frame)
    this.#ledger.add(this.#connection.outbox.position, size)
  }

  #writeClose(status: CloseStatus): void {
    if (!this.#isOpen()) return
    this.#say(status)
    this.#stopWaiting = this.#connection.closeIfStalled()
  }

  #say(status: CloseStatus): void {
    if (this.#said) return
    this.#said = true
    this.#connection.outbox.write(renderClose(status))
  }

  /** Whether a close frame is still missing, ours or the client's. */
  #isOpen(): boolean {
    return this.#state === READY_STATE.OPEN || this.#state === READY_STATE.CLOSING
  }

  /** Looks at half of the idle time whether the client was heard, and pings it if not. */
  #watch(): void {
    const { idleTimeout } = this.#settings
    this.#heard = performance.now()
    let pinged = false
    const look = () => {
      const silent = performance.now() - this.#heard
      if (silent >= idleTimeout) return this.#giveUp()
      if (silent < idleTimeout / 2) pinged = false
      else if (!pinged) {
        pinged = true
        this.#ping()
      }
      const next = pinged ? idleTimeout - silent : idleTimeout / 2 - silent
      this.#idleTimer = setTimeout(look, Math.max(1, Math.ceil(next))).unref()
    }
    this.#idleTimer = setTimeout(look, Math.ceil(idleTimeout / 2)).unref()
  }

  #giveUp(): void {
    const reason = `no sign of life for ${this.#settings.idleTimeout} ms`
    this.#say({ code: CLOSE_CODE.goingAway, reason })
    this.#end({ code: CLOSE_CODE.abnormal, reason: '', wasClean: false })
    this.#connection.close()
  }

  /** More waits than may (WebSockets standard, "flagged as full"): the client is too slow for what is sent to it. */
  #overflow(size: number): void {
    this.#unsent += size
    this.#state = READY_STATE.CLOSING
    const most = this.#settings.maxBufferedBytes
    const error = new Error(`more than ${most} bytes (maxBufferedBytes) wait for the client of a WebSocket`)
    // Nobody expects an event while he sends.
    queueMicrotask(() => {
      this.#end({ code: CLOSE_CODE.abnormal, reason: '', wasClean: false }, error)
      this.#connection.cut()
    })
  }

  /** Fails the connection (RFC 6455, section 7.1.7): the client is told why, nothing is waited for. */
  fail(error: unknown): void {
    if (!this.#isOpen()) return
    const cause = asError(error)
    if (cause instanceof WebSocketFault) this.#say({ code: cause.code, reason: cause.message })
    else this.#say({ code: CLOSE_CODE.internalError, reason: '' })
    this.#end({ code: CLOSE_CODE.abnormal, reason: '', wasClean: false }, cause)
    this.#connection.close()
  }

  #end(status: CloseEventInit, error?: Error): void {
    if (this.#state === READY_STATE.CLOSED) return
    this.#unsent = this.bufferedAmount
    this.#state = READY_STATE.CLOSED
    clearTimeout(this.#idleTimer)
    this.#stopWaiting?.()
    this.#deflate?.close()
    this.#whenClosed?.()
    for (const audience of this.#audiences ?? []) audience.remove(this)
    if (error !== undefined) this.#events.failed(error)
    this.#events.closed(status)
  }
}

function protocolError(what: string): WebSocketFault {
  return new WebSocketFault(CLOSE_CODE.protocolError, what)
}
