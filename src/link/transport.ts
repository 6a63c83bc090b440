import type { Reply } from '../wire/reply.ts'

/** Where replies go. */
export interface Publisher {
  /** Whether more waits than is good. */
  readonly full: boolean
  /** Resolves when nothing waits any more, or the connection is gone. */
  drained(): Promise<void>
  /** Publishes replies in their order, together. Those for a Mongrel2 that is gone are dropped. */
  publish(replies: Reply[]): void
}

/** The publishing half of a link: one connection to a Handler's `recv_spec`, in one life of that Mongrel2. */
export interface LinkPublisher extends Publisher {
  /** Resolves when the ZMTP handshake with Mongrel2 is done; rejects when it never will be. */
  readonly connected: Promise<void>
  /** Resolves with the subscribed prefix (Mongrel2's `recv_ident`) when replies can be delivered; rejects when they never will. */
  readonly opened: Promise<string>
  /** Whether the system has all that was published, and goes on sending it after `close`. */
  readonly handedOver: boolean
  /** Resolves when the connection is gone; what was not delivered by then is lost. */
  readonly closed: Promise<void>
  /** Asks Mongrel2 for a sign of life. Resolves when one comes; rejects, or never settles, when none does. */
  answer(): Promise<void>
  /** @param linger Milliseconds that what was published may still be delivered in. Default: 0, it is lost. */
  close(linger?: number): void
}

/** The pulling half of a link: one connection to a Handler's `send_spec`, in one life of that Mongrel2. */
export interface LinkSource {
  /** Resolves when messages can come; rejects when they never will. */
  readonly opened: Promise<void>
  /** Resolves when the connection is gone, by either side's will. */
  readonly closed: Promise<void>
  /** Hands over what has arrived to the last message, then disconnects: Mongrel2 deals what comes later to others. */
  stop(): Promise<void>
  /** Closes at once; what has not been handed over is lost. */
  close(): void
}

/** Told why a half was closed, if that was neither our will nor Mongrel2's. */
export type Report = (error: unknown) => void

/** Makes the halves of a link. A half connects once and never again: what follows the end of its connection is the link's affair. */
export interface Transport {
  /**
   * @param spec The Handler's `recv_spec`.
   * @param identity The socket's identity.
   */
  createPublisher(spec: string, identity: string, report: Report): LinkPublisher
  /**
   * @param spec The Handler's `send_spec`.
   * @param identity The socket's identity.
   * @param receive Called for each message in the order of arrival; keeps its bytes as long as it likes. Must not throw.
   * @param maxMessageSize Bytes that a message's body may have; a longer one is cut to its first `CUT_MESSAGE` bytes.
   */
  createSource(
    spec: string,
    identity: string,
    receive: (message: Buffer) => void,
    report: Report,
    maxMessageSize: number,
  ): LinkSource
}
