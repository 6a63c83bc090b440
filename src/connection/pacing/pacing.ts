/** The ways to find out what may be published for a connection. */
export type PacingMode = 'credits' | 'controlPort' | 'estimate'

/**
 * Says how much may be published for one connection, so that Mongrel2 never ends it for having too much to deliver. Times are in milliseconds
 * of `performance.now()`. The optional members tell a pacing what happened; one that cannot use it lacks them.
 */
export interface Pacing {
  readonly mode: PacingMode
  /** Whether no message may be published that is larger than the allowance. */
  readonly strict: boolean
  /** Bytes that may wait to be published; beyond them the body is not read further. */
  readonly waitingLimit: number
  /** Bytes that Mongrel2 certainly has not written; 0 where nothing tells, once the client has asked again. */
  readonly unwrittenBytes: number
  /**
   * The size of the next message in bytes, of the `waiting` ones; 0 means to wait, for news or until `retryAt`.
   *
   * @param complete Whether no more bytes are expected soon, so that waiting for more makes no sense.
   */
  allowance(waiting: number, complete: boolean, now: number): number
  /** A message of so many bytes was published. */
  published(bytes: number, now: number): void
  /** Bytes that were published and are not delivered, as far as is known. */
  undelivered(now: number): number
  /** When to ask for an allowance again without news; undefined where only news help. */
  retryAt(now: number): number | undefined
  /** Whether everything published was delivered, as far as is known: nothing has to be remembered. */
  settled(now: number): boolean

  /** Whether it is not known yet how the connection can be paced. */
  readonly undecided?: boolean
  /** Mongrel2 wrote so many bytes to the client. */
  credited?(bytes: number): void
  /** The control port says that so many bytes were written to the connection. Returns whether a message was found delivered. */
  written?(bytes: number, now: number): boolean
  /** Whether the control port has to be asked. */
  wantsFeedback?(now: number): boolean
  /** The control port is asked now. */
  feedbackAsked?(): void
  /** The client sent a request with no answer under way: it has read what there was. */
  asked?(): void
  /** The client sent something, but may not have read what was published. Mongrel2 runs: what it has had for long enough is delivered. */
  messageReceived?(now: number): void
  /** Whether to send a WebSocket's client a ping, where so many bytes wait: from `from` outstanding messages on, or many bytes. */
  wantsProbe?(waiting: number, from: number, now: number): boolean
  /** That ping is sent. */
  probed?(now: number): void
  /** The client has read so many of the bytes that were published. */
  acknowledged?(bytes: number): void
  /** From now on other processes may publish for the connection, too: some places are left to them. */
  share?(): void
  /** Whether Mongrel2 may have ended the connection because its client read more slowly than assumed. */
  mayBeOverrun?(now: number): boolean
  /** Bytes that seem to wait in Mongrel2, where that is bounded for all connections together. */
  waitingInMongrel2?(now: number): number
  /** The connection is gone, and with it all that Mongrel2 had for it. */
  end?(): void
}
