import type { Message } from '../wire/message.ts'
import type { RequestSemantics } from './request-semantics.ts'

/** The exchange of a request that is not answered in full. */
export interface OpenExchange {
  readonly semantics: RequestSemantics
  /** Sends the response if it is there: the earlier ones are sent. */
  begin(): void
  /** Gives up the exchange. */
  abort(reason: DOMException): void
  /** Cancels the timeout of a deferred answer. */
  cancelDeferralTimer(): void
  /** Ends an endless response, since the server closes. */
  goAway(): void
}

/** A body that comes in its own messages. */
interface IncomingBody {
  receive(message: Message): void
  /** Answers without waiting for the rest, since the server closes. */
  stop(): void
  /** The rest will not come. */
  lost(reason: DOMException): void
  /** Discards the rest until the client has sent it, leaves, or its time is over. The stream of a streamed body fails with `reason`. */
  drain(reason?: Error): void
}

/** A body that Mongrel2 stores in a file. */
export interface StoredBody extends IncomingBody {
  readonly streamed: false
}

/** A body that Mongrel2 sends as it arrives, as far as it has credits. */
export interface StreamedBody extends IncomingBody {
  readonly streamed: true
  /** Bytes that have come. */
  readonly received: number
  /** Whether no more of it comes. */
  readonly over: boolean
  /** Whether something reads its stream. */
  readonly read: boolean
  /** Whether the rest is short enough to be read so that the connection can be used again. */
  readonly drainable: boolean
  /** Whether Mongrel2 is in the state in which `renderReset` is safe. */
  readonly resettable: boolean
  /** Whether its reader waits for the client. */
  readonly awaited: boolean
  /** Called once, when it is over or discarded. */
  whenSettled: (() => void) | undefined
  /** Discards the body if nothing reads it soon: the response's head goes out now. */
  expectReader(): void
}

/** Receives the frames of a WebSocket or the messages of a message socket. */
export interface IncomingFrames {
  /** The kind of message that it receives. */
  readonly takes: 'frame' | 'socket'
  receive(message: Message): void
  /** Called before output is published; what it writes goes out with that. */
  publishing?(now: number): void
  /** The connection is gone. */
  lost(): void
  /** Starts to close; resolves when the client has answered or is not waited for. */
  goAway(): Promise<void>
  /** Closes without waiting for the client. */
  end(): void
}
