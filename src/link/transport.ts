import type { Message } from '../wire/message.ts'
import type { Reply } from '../wire/reply.ts'

/** Publishes replies to a Mongrel2. */
export interface Publisher {
  /** Whether so much waits that senders should pause. */
  readonly full: boolean
  /** Resolves when nothing waits any more, or the connection is closed. */
  drained(): Promise<void>
  /** Publishes replies together, in order. Drops them if the connection is closed. */
  publish(replies: Reply[]): void
}

/** The publishing half of a link: one connection to a Handler's `recv_spec`, in one epoch. */
export interface LinkPublisher extends Publisher {
  /** Resolves when the ZMTP handshake is done; rejects when it fails. */
  readonly connected: Promise<void>
  /** Resolves with the subscribed prefix (Mongrel2's `recv_ident`) when replies can be delivered; rejects when it fails. */
  readonly opened: Promise<string>
  /** Whether the system has taken all published replies, and sends them even after `close`. */
  readonly handedOver: boolean
  /** Resolves when the connection is closed; undelivered replies are lost. */
  readonly closed: Promise<void>
  /** Asks Mongrel2 for a sign of life. Resolves with it; otherwise rejects or never settles. */
  answer(): Promise<void>
  /** @param linger Milliseconds in which published replies may still be delivered. Default: 0. */
  close(linger?: number): void
}

/** The pulling half of a link: one connection to a Handler's `send_spec`, in one epoch. */
export interface LinkSource {
  /** Resolves when messages can come; rejects when the connection fails. */
  readonly opened: Promise<void>
  /** Resolves when either side has closed the connection. */
  readonly closed: Promise<void>
  /** Receives every message that has arrived, then disconnects: Mongrel2 deals later ones to others. */
  stop(): Promise<void>
  /** Closes at once; messages not yet received are lost. */
  close(): void
}

/** Called with the error that closed a half; not for an ordinary end by either side. */
export type Report = (error: unknown) => void

/** A message, in its bytes where it came by a socket. */
export type Received = Buffer | Message

/** Called for each message in order of arrival; may keep it. Must not throw. */
export type Receive = (message: Received) => void

/** Makes the halves of a link. A half connects once; the link makes a new one. `identity` is the ZeroMQ socket's. */
export interface Transport {
  /** @param spec The Handler's `recv_spec`. */
  createPublisher(spec: string, identity: string, report: Report): LinkPublisher
  /**
   * @param spec The Handler's `send_spec`.
   * @param maxMessageSize Bytes that a message's body may have; a longer one is cut to its first `CUT_MESSAGE` bytes.
   */
  createSource(spec: string, identity: string, receive: Receive, report: Report, maxMessageSize: number): LinkSource
}
