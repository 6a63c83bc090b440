import { isUtf8 } from 'node:buffer'
import type { IncomingFrames } from '../connection/carried.ts'
import type { Connection } from '../connection/connection.ts'
import { MessageSender } from '../connection/message-sender.ts'
import type { Outbox } from '../connection/outbox.ts'
import type { Budget, SharedMessage } from '../connection/shared-message.ts'
import { asError } from '../runtime/log.ts'
import { TaskChain } from '../runtime/promises.ts'
import type { Message } from '../wire/message.ts'
import {
  CLOSE_CODE,
  type CloseStatus,
  OPCODE,
  Probe,
  parseClosePayload,
  protocolError,
  renderClose,
  renderFrame,
  WebSocketFault,
} from '../wire/websocket/frames.ts'
import { type FrameReceiver, IncomingMessages } from './incoming-messages.ts'
import type { UpgradeSettings } from './options.ts'
import type { PerMessageDeflate } from './permessage-deflate.ts'

/** Bytes of pongs that may wait besides the messages, for a client that pings without reading. */
const MOST_PONG_BYTES = 256 * 1024

/** The states of a WebSocket by the standard's numbers. */
export const READY_STATE = { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 } as const
export type ReadyState = (typeof READY_STATE)[keyof typeof READY_STATE]

/** What a close event says (HTML standard). */
export interface CloseEventInit extends CloseStatus {
  /** Whether both sides have sent a close frame. */
  readonly wasClean: boolean
}

const ABNORMAL: CloseEventInit = { code: CLOSE_CODE.abnormal, reason: '', wasClean: false }

/** What a session tells the user's socket. */
export interface SessionEvents {
  opened(): void
  message(data: string | Buffer): void
  failed(error: Error): void
  closed(status: CloseEventInit): void
}

/** What a session needs of the options. */
type SessionSettings = Pick<UpgradeSettings, 'maxPayload' | 'idleTimeout' | 'maxBufferedBytes' | 'deflate'>

/** One WebSocket on one connection: its states, what is sent, and the answers to control frames, by the rules of RFC 6455. */
export class Session extends MessageSender implements IncomingFrames, FrameReceiver {
  readonly takes = 'frame'
  readonly #connection: Connection
  readonly #outbox: Outbox
  readonly #settings: SessionSettings
  readonly #deflate: PerMessageDeflate | undefined
  readonly #events: SessionEvents
  readonly #incoming: IncomingMessages
  readonly #outgoing = new TaskChain()
  #state: ReadyState = READY_STATE.CONNECTING
  /** Bytes of messages that are not frames yet. */
  #unframed = 0
  /** Bytes given to `send` when nothing could be sent any more, and what was not delivered at the end. */
  #unsent = 0
  /** What our close frame says or will say. */
  #closeStatus: CloseStatus | undefined
  /** Whether our close frame was written: no frame follows it. */
  #closeWritten = false
  /** The ping that has not been answered, and where it ends in the connection's bytes. */
  #probed: { readonly number: number; readonly position: number } | undefined
  /** When the last frame came, in milliseconds of `performance.now()`. */
  #lastFrameAt = 0
  #idleTimer: NodeJS.Timeout | undefined
  #stopWaiting: (() => void) | undefined
  #whenClosed: (() => void) | undefined

  constructor(
    connection: Connection,
    settings: SessionSettings,
    deflate: PerMessageDeflate | undefined,
    events: SessionEvents,
  ) {
    super(connection, 'websocket')
    this.#connection = connection
    this.#outbox = connection.outbox
    this.#settings = settings
    this.#deflate = deflate
    this.#events = events
    this.#incoming = new IncomingMessages(settings.maxPayload, deflate, this)
  }

  get state(): ReadyState {
    return this.#state
  }

  get ended(): boolean {
    return this.#state === READY_STATE.CLOSED
  }

  /** Bytes of messages that are not delivered, as far as can be known, without the headers of frames. */
  get bufferedAmount(): number {
    return this.ended ? this.#unsent : this.#unframed + this.#unsent + this.undelivered(performance.now())
  }

  /** The handshake was answered: frames may come and go. */
  open(): void {
    if (this.ended) return
    if (this.#settings.idleTimeout > 0) this.#watch(this.#settings.idleTimeout)
    if (this.#closeStatus !== undefined) return this.#writeClose(this.#closeStatus)
    this.#state = READY_STATE.OPEN
    this.#events.opened()
  }

  /** Sends a message. Messages keep their order, also behind a Blob that has to be read first. */
  send(data: string | Buffer | Blob): void {
    const opcode = typeof data === 'string' ? OPCODE.text : OPCODE.binary
    const payload = typeof data === 'string' ? Buffer.from(data) : data
    const size = payload instanceof Blob ? payload.size : payload.length
    const { maxBufferedBytes, deflate } = this.#settings
    if (this.#state !== READY_STATE.OPEN) {
      this.#unsent += size
      return
    }
    if (!this.#hasRoom(size, maxBufferedBytes, performance.now())) {
      // WebSockets standard, "flagged as full".
      this.#unsent += size
      this.#state = READY_STATE.CLOSING
      return this.cutFull(maxBufferedBytes, 'WebSocket', (error) => this.#end(ABNORMAL, error))
    }
    const compress = this.#deflate !== undefined && size >= (deflate?.threshold ?? 0)
    if (!compress && payload instanceof Buffer && !this.#outgoing.busy) {
      return this.write(renderFrame(opcode, payload), size)
    }
    // The user may change the bytes at once.
    const kept = payload instanceof Buffer ? Buffer.from(payload) : payload
    this.#sendLater(size, async () => {
      if (!this.#isOpen()) return
      try {
        const bytes = kept instanceof Blob ? Buffer.from(await kept.arrayBuffer()) : kept
        const deflated = compress ? await this.#deflate?.deflate(bytes) : undefined
        if (this.#isOpen()) this.write(renderFrame(opcode, deflated ?? bytes, deflated !== undefined), size)
      } catch (error) {
        this.fail(error)
      }
    })
  }

  /** Sends a shared message, which is never compressed: compression refers to the messages of one client. */
  deliver(message: SharedMessage, { maxBufferedBytes, whenSlow }: Budget, now: number): void {
    if (this.#state !== READY_STATE.OPEN) return
    const { length } = message.payload
    if (!this.#hasRoom(length, maxBufferedBytes, now)) {
      if (whenSlow === 'close') this.close({ code: CLOSE_CODE.tryAgainLater, reason: 'too slow' })
    } else if (!this.#outgoing.busy) this.writeShared(message.frame, length)
    else {
      this.#sendLater(length, () => {
        if (this.#isOpen()) this.writeShared(message.frame, length)
      })
    }
  }

  /** Begins the close handshake from our side. */
  close(status: CloseStatus): void {
    if (this.#state >= READY_STATE.CLOSING) return
    const connecting = this.#state === READY_STATE.CONNECTING
    this.#state = READY_STATE.CLOSING
    this.#closeStatus = status
    if (!connecting) this.#outgoing.add(() => this.#writeClose(status))
  }

  receive(message: Message): void {
    if (this.ended) return
    this.#lastFrameAt = performance.now()
    this.#incoming.receive(message)
  }

  /** Where nothing tells what the client has read, a ping at the end of a reply asks it; its pong settles all of that reply and makes room. */
  publishing(now: number): void {
    if (this.#closeWritten || this.#probed !== undefined) return
    const probe = this.#connection.probe(now)
    if (probe === undefined) return
    this.#outbox.writeShared(probe.frame)
    this.#probed = { number: probe.number, position: this.#outbox.position }
  }

  /** @param error Why the handshake was not accepted (WebSockets standard, "fail the WebSocket connection"). */
  lost(error?: Error): void {
    this.#end(ABNORMAL, error)
  }

  goAway(): Promise<void> {
    this.close({ code: CLOSE_CODE.goingAway, reason: '' })
    if (this.ended) return Promise.resolve()
    return new Promise((resolve) => {
      this.#whenClosed = resolve
    })
  }

  end(): void {
    this.close({ code: CLOSE_CODE.goingAway, reason: '' })
    this.#outgoing.add(() => this.#connection.close())
  }

  take(opcode: number, payload: Buffer): void {
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

  /** Fails the connection (RFC 6455, section 7.1.7): the client is told why, its answer is not waited for. */
  fail(error: unknown): void {
    if (!this.#isOpen()) return
    const cause = asError(error)
    const fault = cause instanceof WebSocketFault
    const code = fault ? cause.code : CLOSE_CODE.internalError
    this.#finish({ code, reason: fault ? cause.message : '' }, ABNORMAL, cause)
  }

  #hasRoom(size: number, most: number, now: number): boolean {
    return this.hasRoom(size, this.#unframed + this.#unsent, most, now)
  }

  /** The client's close frame: answered, unless it answers ours. */
  #takeClose(status: CloseStatus): void {
    // The answer to ours proves that the client has read everything.
    if (this.#closeWritten) this.acknowledgeAll()
    this.#finish(status, { ...status, wasClean: true })
  }

  #pong(payload: Buffer): void {
    if (this.#closeWritten) return
    if (this.#outbox.undelivered() > this.#settings.maxBufferedBytes + MOST_PONG_BYTES) {
      throw new WebSocketFault(CLOSE_CODE.policyViolation, 'pings whose answers are not read')
    }
    const answer = () => this.#writeControl(OPCODE.pong, payload)
    // A ping behind a message is answered behind the answer to that message.
    if (this.#outgoing.busy) this.#outgoing.add(answer)
    else answer()
  }

  /** A pong of our ping: the client has read all that was written before it. */
  #takePong(payload: Buffer): void {
    if (this.#probed === undefined || Probe.numberIn(payload) !== this.#probed.number) return
    this.#outbox.acknowledged(this.#probed.position)
    this.#probed = undefined
    // Otherwise the next ping goes out with what waits.
    if (this.#outbox.waiting === 0) this.publishing(performance.now())
  }

  #writeControl(opcode: number, payload: Buffer): void {
    if (!this.#closeWritten) this.#outbox.write(renderFrame(opcode, payload))
  }

  /** Sends a message of `size` bytes behind those that are not frames yet. */
  #sendLater(size: number, send: () => void | Promise<void>): void {
    this.#unframed += size
    this.#outgoing.add(async () => {
      await send()
      this.#unframed -= size
    })
  }

  #writeClose(status: CloseStatus): void {
    if (!this.#isOpen()) return
    this.#writeCloseFrame(status)
    this.#stopWaiting = this.#connection.closeIfStalled()
  }

  #writeCloseFrame(status: CloseStatus): void {
    if (this.#closeWritten) return
    this.#closeWritten = true
    this.#outbox.write(renderClose(status))
  }

  /** Whether a close frame is still missing, ours or the client's. */
  #isOpen(): boolean {
    return this.#state === READY_STATE.OPEN || this.#state === READY_STATE.CLOSING
  }

  /** Pings a client that was silent for half of the idle time, and ends the socket after all of it. */
  #watch(idleTimeout: number): void {
    this.#lastFrameAt = performance.now()
    let pinged = false
    const check = () => {
      const silent = performance.now() - this.#lastFrameAt
      if (silent >= idleTimeout) {
        const reason = `no sign of life for ${idleTimeout} ms`
        return this.#finish({ code: CLOSE_CODE.goingAway, reason }, ABNORMAL)
      }
      if (silent < idleTimeout / 2) pinged = false
      else if (!pinged) {
        pinged = true
        this.#writeControl(OPCODE.ping, Buffer.alloc(0))
      }
      wait((pinged ? idleTimeout : idleTimeout / 2) - silent)
    }
    const wait = (milliseconds: number) => {
      this.#idleTimer = setTimeout(check, Math.max(1, Math.ceil(milliseconds))).unref()
    }
    wait(idleTimeout / 2)
  }

  /** Ends the socket without waiting for the client; our close frame says `said`, the user's close event `status`. */
  #finish(said: CloseStatus, status: CloseEventInit, error?: Error): void {
    this.#writeCloseFrame(said)
    this.#end(status, error)
    this.#connection.close()
  }

  #end(status: CloseEventInit, error?: Error): void {
    if (this.ended) return
    this.#unsent = this.bufferedAmount
    this.#state = READY_STATE.CLOSED
    clearTimeout(this.#idleTimer)
    this.#stopWaiting?.()
    this.#incoming.close()
    this.#deflate?.close()
    this.#whenClosed?.()
    this.runEndings()
    if (error !== undefined) this.#events.failed(error)
    this.#events.closed(status)
  }
}
