import type { Message } from '../wire/message.ts'
import type { RequestFacts } from './request-semantics.ts'

/** A request that is not answered in full. */
export interface OpenExchange {
  readonly facts: RequestFacts
  /** It is its turn to be answered. */
  begin(): void
  /** It will not be answered any more. */
  abort(reason: DOMException): void
  /** Its answer is left to others for good: this process does not time it any more. */
  cancelDeferralTimer(): void
  /** The server closes: a response without an end has to end. */
  goAway(): void
}

/** A body that comes in messages of its own. */
interface IncomingBody {
  /** The connection's next message came. */
  receive(message: Message): void
  /** The server is stopping: answers without waiting for the rest. */
  stop(): void
  /** The rest will not come. */
  lost(reason: DOMException): void
  /** Throws away what comes until the client has sent all of it, leaves, or has had its time. The stream of a streamed one fails with `reason`. */
  drain(reason?: Error): void
}

/** A body that Mongrel2 stores in a file. */
export interface StoredBody extends IncomingBody {
  readonly streamed: false
}

/** A body that Mongrel2 sends as it comes, as far as it has credits. */
export interface StreamedBody extends IncomingBody {
  readonly streamed: true
  /** Whether nothing more of it comes. */
  readonly over: boolean
  /** Whether its stream is being read: it is locked. */
  readonly read: boolean
  /** Whether so little is missing that the rest is read for the sake of the next request. */
  readonly drainable: boolean
  /** Whether Mongrel2 is in the state in which `renderReset` is safe. */
  readonly resettable: boolean
  /** Whether its reader waits for the client. */
  readonly awaited: boolean
  /** Called once, when it is over or nothing waits for it any more. */
  whenSettled: (() => void) | undefined
  /** The head of the answer goes out before anything reads the body: if nothing does soon, it is thrown away. */
  expectReader(): void
}

/** What takes the frames of a WebSocket or the messages of a message socket. */
export interface IncomingFrames {
  /** The kind of message that belongs to it. */
  readonly takes: 'frame' | 'socket'
  receive(message: Message): void
  /** What was written is published now, and with it what is written now. */
  publishing(now: number): void
  /** No more will come, nor can any be sent. */
  lost(): void
  /** Begins the close; resolves when the client has answered, or is not waited for. */
  goAway(): Promise<void>
  /** Closes without waiting for the client. */
  end(): void
}
