import { CallContext, trackPromises } from '../runtime/call-context.ts'
import { bytesOf, isBytes } from '../wire/bytes.ts'
import { CLOSE_CODE, isCloseCode, MOST_REASON_BYTES } from '../wire/websocket/frames.ts'
import { type EventHandler, EventHandlerAttribute, SocketCloseEvent, SocketErrorEvent } from './events.ts'
import { READY_STATE, type ReadyState, type Session, type SessionEvents } from './session.ts'

/** A message of the client: text as a string, bytes as `binaryType` says. */
export interface SocketMessageEvent extends MessageEvent {
  readonly data: string | ArrayBuffer | Blob
}

/** What is dispatched at a socket. */
export interface ServerWebSocketEventMap {
  open: Event
  message: SocketMessageEvent
  error: SocketErrorEvent
  close: SocketCloseEvent
}

type EventName = keyof ServerWebSocketEventMap
type Listener<Name extends EventName> = (this: ServerWebSocket, event: ServerWebSocketEventMap[Name]) => void
type Handler<Name extends EventName> = EventHandler<ServerWebSocket, ServerWebSocketEventMap[Name]>
type ListenerOptions = Parameters<EventTarget['addEventListener']>[2]

/** What `EventTarget` takes besides the socket's own events. */
type AnyListener = Parameters<EventTarget['addEventListener']>[1]

/** The session of a socket. */
export let sessionOf: (socket: ServerWebSocket) => Session

/**
 * The server's end of a WebSocket, by the interface of the platform's `WebSocket` (WebSockets standard). A listener that throws, or returns
 * a promise that rejects, fails the socket with 1011, and its error is logged: one client's message does not end the process.
 */
export class ServerWebSocket extends EventTarget {
  static {
    sessionOf = (socket) => socket.#session
  }

  static readonly CONNECTING = READY_STATE.CONNECTING
  static readonly OPEN = READY_STATE.OPEN
  static readonly CLOSING = READY_STATE.CLOSING
  static readonly CLOSED = READY_STATE.CLOSED
  readonly CONNECTING = READY_STATE.CONNECTING
  readonly OPEN = READY_STATE.OPEN
  readonly CLOSING = READY_STATE.CLOSING
  readonly CLOSED = READY_STATE.CLOSED

  /** The URL that was asked for, with the scheme `ws` or `wss`. */
  readonly url: string
  /** The subprotocol in use; empty without one. */
  readonly protocol: string
  /** The extensions in use, as the client was told; empty without any. */
  readonly extensions: string
  readonly #session: Session
  /** Where the listeners are called: as the handler of the handshake made the socket, or added the last listener before it opened. */
  #context = new CallContext(true)
  readonly #onopen = new EventHandlerAttribute<ServerWebSocket, Event>(this, (listener) =>
    this.addEventListener('open', listener),
  )
  readonly #onmessage = new EventHandlerAttribute<ServerWebSocket, SocketMessageEvent>(this, (listener) =>
    this.addEventListener('message', listener),
  )
  readonly #onerror = new EventHandlerAttribute<ServerWebSocket, SocketErrorEvent>(this, (listener) =>
    this.addEventListener('error', listener),
  )
  readonly #onclose = new EventHandlerAttribute<ServerWebSocket, SocketCloseEvent>(this, (listener) =>
    this.addEventListener('close', listener),
  )
  #binaryType: 'blob' | 'arraybuffer' = 'blob'
  /** What is called in the place of each listener, so that it can be removed again. */
  readonly #safeListeners = new WeakMap<object, (event: Event) => void>()
  readonly #report: (error: unknown) => void
  /** What a listener of the event that is being dispatched has thrown: the others are called before the socket fails. */
  #thrown: { readonly error: unknown } | undefined

  /**
   * @param begin Makes the session that tells what happens.
   * @param report Told what a listener throws.
   */
  constructor(
    url: string,
    protocol: string,
    extensions: string,
    begin: (events: SessionEvents) => Session,
    report: (error: unknown) => void,
  ) {
    super()
    this.#report = report
    trackPromises()
    this.url = url
    this.protocol = protocol
    this.extensions = extensions
    this.#session = begin({
      opened: () => this.#dispatch(new Event('open')),
      message: (data) => this.#dispatch(new MessageEvent('message', { data: this.#dataOf(data) })),
      failed: (error) => this.#dispatch(new SocketErrorEvent('error', error)),
      closed: (status) => this.#dispatch(new SocketCloseEvent('close', status)),
    })
  }

  /** `CONNECTING` until the response was returned, then `OPEN`, `CLOSING` and `CLOSED`. */
  get readyState(): ReadyState {
    return this.#session.state
  }

  /**
   * Bytes given to `send` that have not been delivered to the client: exactly by Mongrel2's credits, otherwise what is not known or
   * reckoned to be delivered. As in the standard, it does not go back to 0 when the socket closes.
   */
  get bufferedAmount(): number {
    return this.#session.bufferedAmount
  }

  /**
   * What `send` of `createReplier` takes, in any process: messages of others go between those of this socket. No part of the standard.
   *
   * @throws DOMException `InvalidStateError` before the socket is open.
   */
  get token(): string {
    if (this.readyState === READY_STATE.CONNECTING) throw notOpen()
    return this.#session.token
  }

  /** What binary messages arrive as. Any other value is ignored. */
  get binaryType(): 'blob' | 'arraybuffer' {
    return this.#binaryType
  }

  set binaryType(type: 'blob' | 'arraybuffer') {
    if (type === 'blob' || type === 'arraybuffer') this.#binaryType = type
  }

  get onopen(): Handler<'open'> {
    return this.#onopen.handler
  }

  set onopen(handler: Handler<'open'>) {
    this.#onopen.handler = handler
  }

  get onmessage(): Handler<'message'> {
    return this.#onmessage.handler
  }

  set onmessage(handler: Handler<'message'>) {
    this.#onmessage.handler = handler
  }

  get onerror(): Handler<'error'> {
    return this.#onerror.handler
  }

  set onerror(handler: Handler<'error'>) {
    this.#onerror.handler = handler
  }

  get onclose(): Handler<'close'> {
    return this.#onclose.handler
  }

  set onclose(handler: Handler<'close'>) {
    this.#onclose.handler = handler
  }

  /**
   * Sends a message: text, or the bytes as they are now. Whatever was sent before arrives before. Nothing is sent any more once the
   * socket closes.
   *
   * When more than `maxBufferedBytes` wait for the client, the socket fails: an error event, a close event with the code 1006.
   *
   * @throws DOMException `InvalidStateError` before the socket is open.
   */
  send(data: string | ArrayBuffer | ArrayBufferView | SharedArrayBuffer | Blob): void {
    if (this.readyState === READY_STATE.CONNECTING) {
      throw notOpen()
    }
    if (typeof data === 'string' || data instanceof Blob) this.#session.send(data)
    else this.#session.send(isBytes(data) ? bytesOf(data) : String(data))
  }

  /**
   * Closes the socket when what was sent has gone out.
   *
   * @param code 1000 or from 3000 to 4999; without one the client is told none.
   * @param reason At most 123 bytes of UTF-8.
   * @throws DOMException `InvalidAccessError` for another code, `SyntaxError` for a longer reason.
   */
  close(code?: number, reason = ''): void {
    if (code !== undefined && code !== CLOSE_CODE.normal && !(code >= 3000 && isCloseCode(code))) {
      throw new DOMException(`expected the code 1000 or one from 3000 to 4999, got ${code}`, 'InvalidAccessError')
    }
    const text = Buffer.from(String(reason)).toString()
    if (Buffer.byteLength(text) > MOST_REASON_BYTES) {
      throw new DOMException(`expected a reason of at most ${MOST_REASON_BYTES} bytes`, 'SyntaxError')
    }
    // A frame with a reason has a code.
    const said = code ?? (text === '' ? CLOSE_CODE.noStatus : CLOSE_CODE.normal)
    this.#session.close({ code: said, reason: text })
  }

  override addEventListener<Name extends EventName>(
    type: Name,
    listener: Listener<Name> | { handleEvent(event: ServerWebSocketEventMap[Name]): void } | null,
    options?: ListenerOptions,
  ): void
  override addEventListener(type: string, listener: AnyListener, options?: ListenerOptions): void
  override addEventListener(type: string, listener: AnyListener, options?: ListenerOptions): void {
    if (this.readyState === READY_STATE.CONNECTING) this.#context = new CallContext(true)
    super.addEventListener(type, this.#safe(listener), options)
  }

  override removeEventListener<Name extends EventName>(
    type: Name,
    listener: Listener<Name> | { handleEvent(event: ServerWebSocketEventMap[Name]): void } | null,
    options?: ListenerOptions,
  ): void
  override removeEventListener(type: string, listener: AnyListener, options?: ListenerOptions): void
  override removeEventListener(type: string, listener: AnyListener, options?: ListenerOptions): void {
    super.removeEventListener(type, this.#safe(listener), options)
  }

  override dispatchEvent(event: Event): boolean {
    const result = super.dispatchEvent(event)
    const thrown = this.#thrown
    this.#thrown = undefined
    if (thrown !== undefined) this.#session.fail(thrown.error)
    return result
  }

  #dispatch(event: Event): void {
    this.#context.run(() => this.dispatchEvent(event))
  }

  /** What is called in the place of a listener; what is none is for the platform to judge. */
  #safe(listener: AnyListener): AnyListener {
    if (typeof listener !== 'function' && (typeof listener !== 'object' || listener === null)) return listener
    const known = this.#safeListeners.get(listener)
    if (known !== undefined) return known
    const safe = (event: Event) => {
      try {
        const result: unknown =
          typeof listener === 'function' ? listener.call(this, event) : listener.handleEvent(event)
        if (result instanceof Promise) {
          result.catch((error: unknown) => {
            this.#report(error)
            this.#session.fail(error)
          })
        }
      } catch (error) {
        this.#report(error)
        this.#thrown ??= { error }
      }
    }
    this.#safeListeners.set(listener, safe)
    return safe
  }

  #dataOf(data: string | Buffer): string | ArrayBuffer | Blob {
    if (typeof data === 'string') return data
    return this.#binaryType === 'blob' ? new Blob([data]) : new Uint8Array(data).buffer
  }
}

function notOpen(): DOMException {
  return new DOMException('expected an open WebSocket: it opens when its response is returned', 'InvalidStateError')
}
