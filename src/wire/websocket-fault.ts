/** What ends a WebSocket: the client broke the protocol or a limit. */
export class WebSocketFault extends Error {
  /** What the client is told as the reason (RFC 6455, section 7.4.1). */
  readonly code: number

  /** @param message Goes to the client too: at most 123 bytes of UTF-8. */
  constructor(code: number, message: string) {
    super(message)
    this.name = 'WebSocketFault'
    this.code = code
  }
}
