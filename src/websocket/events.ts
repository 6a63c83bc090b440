/** What stands in an attribute such as `onmessage`. */
export type EventHandler<Target, Dispatched extends Event> = ((this: Target, event: Dispatched) => void) | null

/** An attribute such as `onmessage` (HTML standard, "event handlers"): a listener whose function can be replaced. */
export class EventHandlerAttribute<Target, Dispatched extends Event> {
  readonly #target: Target
  readonly #listen: (listener: (event: Dispatched) => void) => void
  #handler: EventHandler<Target, Dispatched> = null
  #listens = false

  /** @param listen Adds a listener to the target, once there is a handler: it keeps its place among the others. */
  constructor(target: Target, listen: (listener: (event: Dispatched) => void) => void) {
    this.#target = target
    this.#listen = listen
  }

  get handler(): EventHandler<Target, Dispatched> {
    return this.#handler
  }

  /** Whatever is no function takes the handler away. */
  set handler(handler: EventHandler<Target, Dispatched>) {
    this.#handler = typeof handler === 'function' ? handler : null
    if (this.#listens || this.#handler === null) return
    this.#listens = true
    this.#listen((event) => this.#handler?.call(this.#target, event))
  }
}

/** What a close event says (HTML standard). */
export interface CloseEventInit {
  readonly code: number
  readonly reason: string
  /** Whether both sides have sent a close frame. */
  readonly wasClean: boolean
}

/** The end of a WebSocket (WebSockets standard, `CloseEvent`), which Node 20 and 22 lack. */
export class SocketCloseEvent extends Event {
  readonly code: number
  readonly reason: string
  readonly wasClean: boolean

  constructor(type: 'close', { code, reason, wasClean }: CloseEventInit) {
    super(type)
    this.code = code
    this.reason = reason
    this.wasClean = wasClean
  }
}
Object.defineProperty(SocketCloseEvent, 'name', { value: 'CloseEvent' })

/** What ended a WebSocket that failed (HTML standard, `ErrorEvent`), which Node 20 to 24 lack. */
export class SocketErrorEvent extends Event {
  readonly message: string
  readonly error: Error

  constructor(type: 'error', error: Error) {
    super(type)
    this.message = error.message
    this.error = error
  }
}
Object.defineProperty(SocketErrorEvent, 'name', { value: 'ErrorEvent' })
