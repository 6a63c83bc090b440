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
