/** Takes a response's bytes. */
export interface ResponseSink {
  write(bytes: Uint8Array): void
  /** Writes bytes that other clients get too. */
  writeShared(bytes: Uint8Array): void
  /** Resolves when more may be written; undefined when that is now. */
  writable(): Promise<void> | undefined
  /** Whether the response was given up, so that it must not look complete. */
  readonly aborted: boolean
  /** Whether the connection can be used again; called when the head goes out. `complete` says that the whole body goes out with it. */
  persists(complete: boolean): boolean
}

/** The result of sending a response. */
export interface Sent {
  /** Whether the connection can be used again. */
  readonly reusable: boolean
  /** An error after the head went out, which the client sees by the connection's end. */
  readonly fault?: Error
  /** Whether the client was too slow: the connection is cut if it goes on reading nothing. */
  readonly slow?: boolean
}
