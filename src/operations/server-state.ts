import type { LoggedLine } from './recent-warnings.ts'
import type { RequestCounts } from './request-totals.ts'

/** A link to one of Mongrel2's Handlers. */
export interface LinkState {
  readonly sendSpec: string
  readonly recvSpec: string
  /** Whether messages come and replies can be delivered. */
  readonly attached: boolean
  /** Since when that is so, in milliseconds since 1970. */
  readonly since: number
}

/** The phases of a connection, those that say most first. */
export const CONNECTION_PHASES = ['open', 'deferred', 'queued', 'idle'] as const

/** A connection of a client, as this side knows it. */
export interface ConnectionState {
  /** The number that Mongrel2 gives it. */
  readonly connection: number
  /** The `recv_spec` of its Handler: several Mongrel2s give the same numbers. */
  readonly recvSpec: string
  /**
   * `idle`: nothing is open on it. `open`: a request is not answered in full, or it has a socket. `queued`: its request waits for a worker.
   * `deferred`: another process answers.
   */
  readonly state: (typeof CONNECTION_PHASES)[number]
  /** The id of the process that has it; undefined while none has. */
  readonly worker: number | undefined
}

/** A place for a worker process: when that ends or is replaced, another is started there. */
export interface PlaceState {
  /** The node that it is on; empty for this machine. */
  readonly node: string
  /** Its number on the node, from 1. */
  readonly place: number
  /** Workers that were started in it in place of others. */
  readonly restarts: number
}

/** A worker process. */
export interface WorkerState extends Pick<PlaceState, 'node' | 'place'> {
  readonly pid: number
  /** Whether it gets new connections. */
  readonly state: 'starting' | 'ready' | 'leaving'
  /** Handlers that have not returned. */
  readonly inFlight: number
  readonly connections: number
  /** Requests since its start. */
  readonly requests: number
  /** When it was started, in milliseconds since 1970. */
  readonly since: number
  /** Resident memory in bytes, within the last second; 0 until it is known. */
  readonly rss: number
  /** The longest delay of its event loop within the last second, in milliseconds; 0 where nothing is measured (`metrics`). */
  readonly eventLoopDelay: number
}

/** The state of a server: what the metrics, the admin address and the command `status` show. */
export interface ServerState {
  /** Messages that Mongrel2 sent, notices and malformed ones included. */
  readonly messages: number
  /** Malformed messages, which are dropped. */
  readonly malformed: number
  /** Refused requests (400, 413, 426, 503), and messages dropped because their connection closes. */
  readonly rejected: number
  /** Notices without effect: for unknown connections, or with malformed credits. */
  readonly ignored: number
  /** Running handlers. */
  readonly inFlight: number
  /** Requests that wait for a place. */
  readonly queued: number
  /** Connections with state, at most the open ones. */
  readonly connections: number
  /** Number of these by their pacing: credits, control port or estimate. */
  readonly pacing: Readonly<Record<'credits' | 'controlPort' | 'estimate', number>>
  /** Open WebSockets. */
  readonly webSockets: number
  /** Open message sockets. */
  readonly messageSockets: number
  /** Request bodies that Mongrel2 stores or sends in parts now. */
  readonly uploads: number
  /** Members of all Topics. */
  readonly topicMembers: number
  /** Whether the server closes. */
  readonly closing: boolean
  /** One for each endpoint. */
  readonly links: readonly LinkState[]
  /** The worker processes; undefined where the server has none. */
  readonly workers?: readonly WorkerState[]
  /** The places of the workers; undefined where the server has none. */
  readonly places?: readonly PlaceState[]
  /** Counts of ended requests; undefined without the option `metrics`. */
  readonly totals?: RequestCounts
  /** The last warnings and errors of the log, the oldest first; undefined without the option `metrics`. */
  readonly warnings?: readonly LoggedLine[]
}

/** Why a server does not serve all that it should; empty if it does. */
export function obstaclesOf({ closing, links, workers }: ServerState): string[] {
  const obstacles = links
    .filter(({ attached }) => !attached)
    .map(({ sendSpec, recvSpec }) => `no Mongrel2 at ${sendSpec},${recvSpec}`)
  if (closing) obstacles.unshift('the server closes')
  if (workers !== undefined && !workers.some(({ state }) => state === 'ready')) obstacles.push('no worker is ready')
  return obstacles
}
