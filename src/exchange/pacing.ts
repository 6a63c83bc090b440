import { DELIVER_OUTSTANDING_MSGS, FLOW_CONTROL_WINDOW } from '../wire/limits.ts'

/** How it is known what may be published for a connection. */
export type PacingMode = 'credits' | 'controlPort' | 'estimate'

/**
 * Says how much may be published for one connection, so that Mongrel2 never ends it for having too much to deliver.
 * Times are in milliseconds of `performance.now()`.
 */
export interface Pacing {
  readonly mode: PacingMode
  /** Bytes that may wait to be published until the body that makes them is not read further. */
  readonly waitingLimit: number
  /**
   * The bytes that the next message may have; 0 asks to wait, for credits or until `retryAt`.
   *
   * @param waiting Bytes that wait to be published.
   * @param complete Whether nothing will follow them soon, so that there is no sense in gathering more.
   */
  allowance(waiting: number, complete: boolean, now: number): number
  /** A message of so many bytes was published. */
  published(bytes: number, now: number): void
  /** Mongrel2 wrote so many bytes to the client. */
  credited(bytes: number): void
  /** The control port says that so many bytes were written to the connection; returns whether a message was found delivered. */
  written(bytes: number): boolean
  /** Whether an answer of the control port is worth asking for. */
  wantsFeedback(now: number): boolean
  /** The client asked for more with nothing under way. */
  asked(): void
  /** When `allowance` is worth asking again though no credits came; undefined where only credits help. */
  retryAt(now: number): number | undefined
  /** Whether everything published was delivered, as far as can be known: nothing has to be remembered. */
  settled(now: number): boolean
  /** Bytes that are known not to have been written yet; 0 where nobody tells, once the client has asked again. */
  readonly balance: number
}

/** Pacing by credits, where Mongrel2 runs with `download.flow_control`: it tells each byte it has written. */
export class CreditPacing implements Pacing {
  readonly mode = 'credits'
  readonly waitingLimit = FLOW_CONTROL_WINDOW
  #outstanding: number

  /** @param outstanding Bytes that were published before and are not written yet. */
  constructor(outstanding = 0) {
    this.#outstanding = outstanding
  }

  allowance(waiting: number): number {
    return Math.min(waiting, FLOW_CONTROL_WINDOW - this.#outstanding)
  }

  published(bytes: number): void {
    this.#outstanding += bytes
  }

  credited(bytes: number): void {
    this.#outstanding = Math.max(0, this.#outstanding - bytes)
  }

  written(): boolean {
    return false
  }

  wantsFeedback(): boolean {
    return false
  }

  asked(): void {}

  retryAt(): undefined {
    return undefined
  }

  settled(): boolean {
    return this.#outstanding === 0
  }

  get balance(): number {
    return this.#outstanding
  }
}

/** What a pacing without credits has to know. */
export interface EstimateSettings {
  /** Bytes a second that a client reads at least, for its messages to be taken as delivered in time. */
  readonly minClientRate: number
  /** Bytes that may be held for one stream. */
  readonly maxBufferedBytes: number
}

/** How long Mongrel2 may take to hand a message to the client's socket when it is busy, in milliseconds, however small it is. */
const DELIVERY_TIME = 200
/** Bytes that the sockets of both ends hold at the very least, so that they do not wait in Mongrel2. */
const SOCKET_BUFFERS = 32 * 1024
/** One message less than Mongrel2 allows: the last place is for the closing reply, which it would lose. */
const MESSAGES = DELIVER_OUTSTANDING_MSGS - 1
/** From so many messages outstanding on, each next one has to carry more, so that few messages carry much. */
const SPARING_FROM = 7
/** What the first of those has to carry, in bytes; each next one twice as much. */
const SPARING_SIZE = 256 * 1024

/** A message that was published and may not have been delivered. */
interface OutstandingMessage {
  /** When the slowest client that is to be served has it. */
  readonly deliveredAt: number
  /** Bytes published for the connection up to its end. */
  readonly end: number
}

/**
 * Pacing by estimate, where Mongrel2 says nothing: at most 15 messages may wait for a connection, and when one is delivered
 * can only be reckoned from the slowest client that is to be served.
 */
export class EstimatePacing implements Pacing {
  readonly mode: PacingMode = 'estimate'
  readonly balance = 0
  readonly waitingLimit: number
  /** In the order in which they are delivered. */
  protected outstanding: OutstandingMessage[] = []
  /** Bytes published since this was made. */
  protected total = 0
  readonly #bytesPerMillisecond: number
  /** When the slowest client has everything. */
  #idleAt = 0

  constructor(settings: EstimateSettings) {
    this.waitingLimit = settings.maxBufferedBytes
    this.#bytesPerMillisecond = settings.minClientRate / 1000
  }

  allowance(waiting: number, complete: boolean, now: number): number {
    const count = this.count(now)
    if (count >= MESSAGES) return 0
    if (complete || count < SPARING_FROM || waiting >= this.waitingLimit) return waiting
    return waiting >= SPARING_SIZE * 2 ** (count - SPARING_FROM) ? waiting : 0
  }

  published(bytes: number, now: number): void {
    this.total += bytes
    this.#idleAt = Math.max(this.#idleAt, now) + bytes / this.#bytesPerMillisecond
    const read = this.#idleAt - SOCKET_BUFFERS / this.#bytesPerMillisecond
    this.outstanding.push({ deliveredAt: Math.max(now + DELIVERY_TIME, read), end: this.total })
  }

  credited(): void {}

  written(_bytes: number): boolean {
    return false
  }

  wantsFeedback(_now: number): boolean {
    return false
  }

  /** Who asks again has read the answer before. */
  asked(): void {
    this.outstanding = []
    this.#idleAt = 0
  }

  retryAt(now: number): number | undefined {
    this.count(now)
    return this.outstanding[0]?.deliveredAt
  }

  settled(now: number): boolean {
    return this.count(now) === 0
  }

  /** How many messages may wait in Mongrel2. */
  protected count(now: number): number {
    while (this.outstanding.length > 0 && (this.outstanding[0] as OutstandingMessage).deliveredAt <= now) {
      this.outstanding.shift()
    }
    return this.outstanding.length
  }
}

/** From so many messages outstanding on, the control port is asked what became of them. */
const ASK_FROM = 4

/**
 * Pacing by the control port, which tells how many bytes Mongrel2 has written to each connection. Between its answers, and where
 * they say less than could be, the estimate holds.
 */
export class ControlPacing extends EstimatePacing {
  override readonly mode: PacingMode = 'controlPort'
  /** Bytes written to the connection that are none of ours: other Handlers', or from before this was made. */
  #foreign: number | undefined

  override wantsFeedback(now: number): boolean {
    return this.count(now) >= ASK_FROM
  }

  /**
   * The first answer has to be interpreted: where more was written than we have published, it cannot be told how much of ours
   * is in it, and none is assumed.
   */
  override written(bytes: number): boolean {
    this.#foreign ??= bytes <= this.total ? 0 : bytes
    const delivered = bytes - this.#foreign
    if (delivered > this.total) this.#foreign += delivered - this.total
    const before = this.outstanding.length
    while (this.outstanding.length > 0 && (this.outstanding[0] as OutstandingMessage).end <= delivered) {
      this.outstanding.shift()
    }
    return this.outstanding.length < before
  }
}
