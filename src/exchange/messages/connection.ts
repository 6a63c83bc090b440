/** A client that sends JSON or XML messages to Mongrel2. */
export interface MessageConnection {
  /** The Handler's `send_ident`. */
  readonly sender: string
  /** Mongrel2's number for the connection, unique while that Mongrel2 runs. */
  readonly connectionId: number
  /** The route that matched its first message, such as `@chat`. */
  readonly pattern: string
  /** The client's address. */
  readonly remoteAddress: string
  /** Whether it is open: neither side has closed it. */
  readonly isOpen: boolean
  /** Bytes given to `send` that have not been delivered, as far as can be known. */
  readonly bufferedAmount: number
  /** What `send` of `createReplier` takes, in any process: messages of others go between those that are sent here. */
  readonly token: string
  /**
   * Sends a message, of which nothing else is known than its bytes. Mongrel2 encodes each in base64 and puts nothing behind it, and leaves out
   * a zero byte at its end; with `raw_payload=1` in the Handler it sends them as they are. One of no bytes is none.
   *
   * When more than `maxBufferedBytes` wait for the client, the connection is closed. Once it is closed, nothing is sent.
   *
   * @throws Mongrel2Error `over_budget` for a message that Mongrel2 would not deliver: under `download.flow_control` one of more than 102,400 bytes as
   * they are sent, 76,800 before they are encoded.
   */
  send(data: string | ArrayBuffer | ArrayBufferView): void
  /** Closes it when what was sent has gone out. */
  close(): void
}
