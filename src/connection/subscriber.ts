import type { SharedMessage } from './shared-message.ts'

/** What happens to a member that is over its budget. */
export interface Budget {
  /** Bytes that may wait for a member, beside one message. */
  readonly maxBufferedBytes: number
  /** It does not get the message, or it is closed. */
  readonly whenSlow: 'drop' | 'close'
}

/** Those that a subscriber is one of. */
export interface Audience {
  /** It is none any more. */
  remove(subscriber: Subscriber): void
}

/** Somebody who gets what is sent to many. */
export interface Subscriber {
  /** Tells an audience when it ends; returns whether it has not ended before. */
  join(audience: Audience): boolean
  /** Does not tell it any more. */
  leave(audience: Audience): void
  /**
   * Gives it a message.
   *
   * @param now In milliseconds of `performance.now()`.
   */
  deliver(message: SharedMessage, budget: Budget, now: number): void
}
