import type { PacingCounts } from '../connection/pacing/pacing.ts'

/** What a server has counted since it was made. */
export interface Mongrel2Statistics {
  /** Messages that Mongrel2 sent, notices and malformed ones included. */
  messages: number
  /** Requests that the handler was called for. */
  requests: number
  /** Replies published; one may carry several responses of a connection, and a response may take several. */
  replies: number
  /** Bytes for clients in those replies, heads and framing included. */
  bytesOut: number
  /** Messages dropped because they were none. */
  malformed: number
  /** Requests that were refused (400, 413, 426, 503) and messages dropped because their connection is being closed. */
  rejected: number
  /** Notices that mean nothing: of connections that nothing is known of (any more), or with credits that are no number. */
  ignored: number
  /** Handlers that have not returned yet. */
  inFlight: number
  /** Connections that state is kept for, at most what is open. */
  connections: number
  /** How many of these are paced by Mongrel2's credits, by its control port, or by estimate. */
  pacing: PacingCounts
}

/** The counters of it that only grow. */
export type Counters = Omit<Mongrel2Statistics, 'inFlight' | 'connections' | 'pacing'>

/** All at zero. */
export function createCounters(): Counters {
  return { messages: 0, requests: 0, replies: 0, bytesOut: 0, malformed: 0, rejected: 0, ignored: 0 }
}
