import type { Mongrel2Env } from '../platform/handler.ts'
import { turnTime, wallTime } from '../runtime/clock.ts'
import type { Message } from '../wire/message.ts'

/** A request that has ended: the last byte of its response is published, or it was given up. */
export interface RequestEntry {
  /** When its message came, in milliseconds since 1970. */
  readonly time: number
  /** The client's address, by the rules of `trustProxy`; empty where none is known. */
  readonly address: string
  readonly method: string
  /** The target as the client sent it: path and query. */
  readonly target: string
  /** The version of HTTP, such as `HTTP/1.1`. */
  readonly version: string
  /** The status of the response; undefined where none began here: the client left before, or another process answered (`defer`). */
  readonly status: number | undefined
  /** Bytes of the response that were published, head and framing included. */
  readonly bytes: number
  /** Bytes of the request's body. */
  readonly received: number
  /** Time from the message to the end, in milliseconds. */
  readonly duration: number
  readonly referer: string | undefined
  readonly userAgent: string | undefined
  /** The pattern of Mongrel2's route. */
  readonly route: string
  /** The id of the process that handled it; undefined where a dispatcher answered instead of one. */
  readonly worker: number | undefined
  /** The number that Mongrel2 gives the connection. */
  readonly connection: number
  /** Whether the response was given up before its end, since the client left, its connection was closed or its worker was lost. */
  readonly aborted: boolean
}

/** Takes the entries of observed requests, with the lines of those that are recorded. Must not throw. */
export type RequestObserver = (entry: RequestEntry, record?: string) => void

/** Records a request. */
interface RequestRecording {
  /** Takes bytes of the response. */
  keep(bytes: Uint8Array): void
  /** Called at the end; undefined if the request is not to be recorded. */
  line(entry: RequestEntry): string | undefined
}

/** Where the entries of a server's requests go. */
export interface RequestSink {
  /** Undefined if nobody wants them. */
  readonly observer: RequestObserver | undefined
  /** Called when the server has closed. */
  close(): Promise<void>
}

/** The message of the channels of a request, the same object in all of them. */
export interface RequestTrace {
  readonly request: Request
  readonly env: Mongrel2Env
  /** What the handler returned, from `asyncStart` on. */
  result?: unknown
  /** What it threw. */
  error?: unknown
  /** How the response ended, in `mongrel2-fetch:request:end`. */
  entry?: RequestEntry
}

/** The fields of an entry, in the order of the documentation. */
export const ENTRY_FIELDS = [
  'time',
  'address',
  'method',
  'target',
  'version',
  'status',
  'bytes',
  'received',
  'duration',
  'referer',
  'userAgent',
  'route',
  'worker',
  'connection',
  'aborted',
] as const satisfies readonly (keyof RequestEntry)[]

/** `process.pid` is looked up. */
const PID = process.pid

/** A request that is being observed. Its headers are read when they are asked for. */
export class ObservedRequest implements RequestEntry {
  // For the outbox: where the response begins and ends, and the mark that follows.
  from: number | undefined
  position = 0
  declare next?: ObservedRequest
  worker: number | undefined = PID
  status: number | undefined
  bytes = 0
  received: number
  duration = 0
  aborted = false
  #address: string | undefined
  #method: string | undefined
  #target: string | undefined
  #version: string | undefined
  #time: number | undefined
  // Only declared, as `next` is: without them a request is made more quickly.
  /** What the channels of tracing agents tell of it. */
  declare trace?: RequestTrace
  /** Called at the end, after the observer. */
  declare told?: (request: ObservedRequest) => void
  /** What is recorded of it, if it may be recorded. */
  declare recording?: RequestRecording
  readonly #observer: RequestObserver | undefined
  readonly #message: Message
  readonly #start: number

  /** @param start When it came, by `performance.now()`. */
  constructor(message: Message, observer: RequestObserver | undefined, start: number = turnTime()) {
    this.#observer = observer
    this.#message = message
    this.#start = start
    this.received = message.body.length
    if (message.kind !== 'handshake') return
    // Mongrel2 does not give the method; the body is the answer's key.
    this.#method = 'GET'
    this.received = 0
  }

  get time(): number {
    this.#time ??= wallTime(this.#start)
    return this.#time
  }

  get address(): string {
    return this.#address ?? this.#message.headers.own('REMOTE_ADDR') ?? ''
  }

  get method(): string {
    return this.#method ?? this.#message.headers.own('METHOD') ?? ''
  }

  get target(): string {
    return this.#target ?? this.#message.headers.own('URI') ?? ''
  }

  get version(): string {
    return this.#version ?? this.#message.headers.own('VERSION') ?? ''
  }

  get referer(): string | undefined {
    return this.#message.headers.first('referer')
  }

  get userAgent(): string | undefined {
    return this.#message.headers.first('user-agent')
  }

  get route(): string {
    return this.#message.headers.own('PATTERN') ?? ''
  }

  get connection(): number {
    return this.#message.connectionId
  }

  /** Takes what is known once the head was read, so that it need not be read again. The address is that by `trustProxy`. */
  read(method: string | undefined, address: string, target: string, http10: boolean): void {
    this.#method ??= method
    this.#address = address
    this.#target = target
    if (!http10) this.#version = 'HTTP/1.1'
  }

  /** Its response is published up to a position in the outbox, and no further. */
  published(reached: number, now?: number): void {
    this.bytes = Math.max(0, reached - (this.from ?? reached))
    if (reached < this.position) this.aborted = true
    // The head did not go out.
    if (this.aborted && this.bytes === 0) this.status = undefined
    this.end(now)
  }

  end(now: number = performance.now()): void {
    this.duration = now - this.#start
    this.#observer?.(this, this.recording?.line(this))
    this.told?.(this)
  }

  toJSON(): RequestEntry {
    return Object.fromEntries(ENTRY_FIELDS.map((name) => [name, this[name]])) as unknown as RequestEntry
  }
}
