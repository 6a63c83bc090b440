import { CallContext, trackPromises } from '../runtime/call-context.ts'
import { bytesOf, isBytes } from '../wire/bytes.ts'
import { CLOSE_CODE, isCloseCode, MOST_REASON_BYTES } from '../wire/websocket/frames.ts'
import { type CloseEventInit, READY_STATE, type ReadyState, type Session, type SessionEvents } from './session.ts'

/** The end of a WebSocket (WebSockets standard, `CloseEvent`), which Node 20 and 22 lack. */
export class SocketCloseEvent extends Event {
  /** The code of the close frame; 1005 without a code, 1006 without a close frame. */
  readonly code: number
  /** The reason of the close frame, or an empty text. */
  readonly reason: string
  /** Whether both sides sent a close frame. */
  readonly wasClean: boolean

  /** @internal */
  constructor(type: 'close', { code, reason, wasClean }: CloseEventInit) {
    super(type)
    this.code = code
    this.reason = reason
    this.wasClean = wasClean
  }
}
Object.defineProperty(SocketCloseEvent, 'name', { value: 'CloseEvent' })

/** Why a WebSocket failed (HTML standard, `ErrorEvent`), which Node 20 to 24 lack. */
export class SocketErrorEvent extends Event {
  /** The message of the error. */
  readonly message: string
  readonly error: Error

  /** @internal */
  constructor(type: 'error', error: Error) {
    super(type)
    this.message = error.message
    this.error = error
  }
}
Object.defineProperty(SocketErrorEvent, 'name', { value: 'ErrorEvent' })

/** A message of the client: text as a string, bytes as `binaryType` says. */
export interface SocketMessageEvent extends MessageEvent {
  readonly data: string | ArrayBuffer | Blob
}

/** The events of a socket. */
export interface ServerWebSocketEventMap {
  open: Event
  message: SocketMessageEvent
  error: SocketErrorEvent
  close: SocketCloseEvent
}

type EventName = keyof ServerWebSocketEventMap
type Handler<N extends EventName> = ((this: ServerWebSocket, event: ServerWebSocketEventMap[N]) => void) | null
type Listener<N extends EventName> = Handler<N> | { handleEvent(event: ServerWebSocketEventMap[N]): void }
type AnyHandler = (this: ServerWebSocket, event: Event) => unknown
type ListenerOptions = Parameters<EventTarget['addEventListener']>[2]

type AnyListener = Parameters<EventTarget['addEventListener']>[1]

/** The session of a socket. */
export let sessionOf: (socket: ServerWebSocket) => Session

/**
 * The server's end of a WebSocket, with the interface of the platform's `WebSocket` (WebSockets standard). A listener that throws, or returns
 * a promise that rejects, fails the socket with 1011, and its error is logged: one client's message cannot end the process.
 */
export class ServerWebSocket extends EventTarget {
  static {
    sessionOf = (socket) => socket.#session
    for (const type of ['open', 'message', 'error', 'close']) {
      Object.defineProperty(ServerWebSocket.prototype, `on${type}`, {
        get(this: ServerWebSocket) {
          return this.#handlers?.[type] ?? null
        },
        set(this: ServerWebSocket, handler: unknown) {
          this.#setHandler(type, handler)
        },
        configurable: true,
        enumerable: true,
      })
    }
  }

  /** Turns what a session tells into events of its socket: functions of its own would take each socket more memory. */
  static readonly #EventsOf = class implements SessionEvents {
    readonly #socket: ServerWebSocket

    constructor(socket: ServerWebSocket) {
      this.#socket = socket
    }

    opened(): void {
      this.#socket.#dispatch(new Event('open'))
    }

    message(data: string | Buffer): void {
      this.#socket.#dispatch(new MessageEvent('message', { data: this.#socket.#dataOf(data) }))
    }

    failed(error: Error): void {
      this.#socket.#dispatch(new SocketErrorEvent('error', error))
    }

    closed(status: CloseEventInit): void {
      this.#socket.#dispatch(new SocketCloseEvent('close', status))
    }
  }

  /** The wrappers of listeners, so that they can be removed. Called on their socket: one for each would take more memory. */
  static readonly #safeListeners = new WeakMap<object, (this: ServerWebSocket, event: Event) => void>()

  /** Wraps a listener so that its errors are reported; the platform judges what is no listener. */
  static #safe(listener: AnyListener): AnyListener {
    if (typeof listener !== 'function' && (typeof listener !== 'object' || listener === null)) return listener
    const known = ServerWebSocket.#safeListeners.get(listener)
    if (known !== undefined) return known
    const safe = function (this: ServerWebSocket, event: Event): void {
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
    ServerWebSocket.#safeListeners.set(listener, safe)
    return safe
  }

  static readonly CONNECTING = READY_STATE.CONNECTING
  static readonly OPEN = READY_STATE.OPEN
  static readonly CLOSING = READY_STATE.CLOSING
  static readonly CLOSED = READY_STATE.CLOSED
  readonly CONNECTING = READY_STATE.CONNECTING
  readonly OPEN = READY_STATE.OPEN
  readonly CLOSING = READY_STATE.CLOSING
  readonly CLOSED = READY_STATE.CLOSED

  /** The request's URL, with the scheme `ws` or `wss`. */
  readonly url: string
  /** The subprotocol in use, or an empty text. */
  readonly protocol: string
  /** The extensions in use, as in the answer to the handshake, or an empty text. */
  readonly extensions: string
  readonly #session: Session
  /** The listeners' async context: that of the code that made the socket, or added the last listener before it opened. */
  #context = new CallContext(true)
  /** Called with the event `open`, like a listener; null for none. */
  declare onopen: Handler<'open'>
  /** Called with each message. */
  declare onmessage: Handler<'message'>
  /** Called when the socket fails, before `onclose`. */
  declare onerror: Handler<'error'>
  /** Called when the socket is closed. */
  declare onclose: Handler<'close'>
  /** The functions assigned to these, by the type of the event. */
  #handlers: Record<string, AnyHandler | null> | undefined
  #binaryType: 'blob' | 'arraybuffer' = 'blob'
  readonly #report: (error: unknown) => void
  /** What a listener of the current event has thrown: the other listeners are called before the socket fails. */
  #thrown: { readonly error: unknown } | undefined

  /**
   * `begin` makes the session, which calls the functions that it is given; `report` is called with what a listener throws.
   *
   * @internal `upgradeWebSocket` makes sockets.
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
    this.#session = begin(new ServerWebSocket.#EventsOf(this))
  }

  /** `CONNECTING` until the handler has returned the response, then `OPEN`, `CLOSING` and `CLOSED`. */
  get readyState(): ReadyState {
    return this.#session.state
  }

  /**
   * Bytes given to `send` that are not delivered to the client: exact with Mongrel2's credits, otherwise an estimate. As in the standard, it
   * does not go back to 0 when the socket closes.
   */
  get bufferedAmount(): number {
    return this.#session.bufferedAmount
  }

  /**
   * The token for `send` of `createReplier`, by which any process can send messages between those of this socket. Not in the standard.
   *
   * @throws DOMException `InvalidStateError` before the socket is open.
   */
  get token(): string {
    if (this.readyState === READY_STATE.CONNECTING) throw notOpen()
    return this.#session.token
  }

  /** The type of binary messages. Other values are ignored. */
  get binaryType(): 'blob' | 'arraybuffer' {
    return this.#binaryType
  }

  set binaryType(type: 'blob' | 'arraybuffer') {
    if (type === 'blob' || type === 'arraybuffer') this.#binaryType = type
  }

  /**
   * Sends a message: text, or the bytes as they are now. Messages arrive in their order. Nothing is sent once the socket closes.
   *
   * When more than `maxBufferedBytes` would wait for the client, the socket fails with an error event and a close event with the code 1006.
   *
   * @throws DOMException `InvalidStateError` before the socket is open.
   */
  send(data: string | ArrayBuffer | ArrayBufferView | SharedArrayBuffer | Blob): void {
    if (this.readyState === READY_STATE.CONNECTING) throw notOpen()
    if (typeof data === 'string' || data instanceof Blob) this.#session.send(data)
    else this.#session.send(isBytes(data) ? bytesOf(data) : String(data))
  }

  /**
   * Closes the socket after everything that was sent.
   *
   * @param code 1000, or from 3000 to 4999. Without it the close frame has none.
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
    // A reason needs a code.
    const status = code ?? (text === '' ? CLOSE_CODE.noStatus : CLOSE_CODE.normal)
    this.#session.close({ code: status, reason: text })
  }

  override addEventListener<N extends EventName>(type: N, listener: Listener<N>, options?: ListenerOptions): void
  override addEventListener(type: string, listener: AnyListener, options?: ListenerOptions): void
  override addEventListener(type: string, listener: AnyListener, options?: ListenerOptions): void {
    if (this.readyState === READY_STATE.CONNECTING) this.#context = new CallContext(true)
    super.addEventListener(type, ServerWebSocket.#safe(listener), options)
  }

  override removeEventListener<N extends EventName>(type: N, listener: Listener<N>, options?: ListenerOptions): void
  override removeEventListener(type: string, listener: AnyListener, options?: ListenerOptions): void
  override removeEventListener(type: string, listener: AnyListener, options?: ListenerOptions): void {
    super.removeEventListener(type, ServerWebSocket.#safe(listener), options)
  }

  override dispatchEvent(event: Event): boolean {
    const result = super.dispatchEvent(event)
    const thrown = this.#thrown
    this.#thrown = undefined
    if (thrown !== undefined) this.#session.fail(thrown.error)
    return result
  }

  /** A handler is a listener that can be replaced, and keeps its place among the listeners (HTML standard, "event handlers"). */
  #setHandler(type: string, handler: unknown): void {
    const added = this.#handlers?.[type] !== undefined
    if (!added && typeof handler !== 'function') return
    this.#handlers ??= {}
    this.#handlers[type] = typeof handler === 'function' ? (handler as AnyHandler) : null
    if (!added) this.addEventListener(type, (event) => this.#handlers?.[type]?.call(this, event))
  }

  #dispatch(event: Event): void {
    this.#context.run(() => this.dispatchEvent(event))
  }

  #dataOf(data: string | Buffer): string | ArrayBuffer | Blob {
    if (typeof data === 'string') return data
    return this.#binaryType === 'blob' ? new Blob([data]) : new Uint8Array(data).buffer
  }
}

function notOpen(): DOMException {
  return new DOMException('expected an open WebSocket: it opens when its response is returned', 'InvalidStateError')
}
