import { DELIVER_OUTSTANDING_MSGS, FLOW_CONTROL_WINDOW } from '../wire/limits.ts'

/**
 * Says how much may be published for one connection, so that Mongrel2 never ends it for having too much to deliver.
 * Times are in milliseconds of `performance.now()`.
 */
export interface Pacing {
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
  /** The client asked for more with nothing under way. */
  asked(): void
  /** When `allowance` is worth asking again though no credits came; undefined where only credits help. */
  retryAt(now: number): number | undefined
  /** Whether everything published was delivered, as far as can be known: nothing has to be remembered. */
  settled(now: number): boolean
}

/** Pacing by credits, where Mongrel2 runs with `download.flow_control`: it tells each byte it has written. */
export class CreditPacing implements Pacing {
  readonly waitingLimit = FLOW_CONTROL_WINDOW
  #outstanding = 0

  allowance(waiting: number): number {
    return Math.min(waiting, FLOW_CONTROL_WINDOW - this.#outstanding)
  }

  published(bytes: number): void {
    this.#outstanding += bytes
  }

  credited(bytes: number): void {
    this.#outstanding = Math.max(0, this.#outstanding - bytes)
  }

  asked(): void {}

  retryAt(): undefined {
    return undefined
  }

  settled(): boolean {
    return this.#outstanding === 0
  }
}

/** What a client has to read at least, in bytes a millisecond (16 KiB/s), for its messages to be taken as delivered in time. */
const MIN_CLIENT_RATE = 16.384
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

/**
 * Pacing by estimate, where Mongrel2 says nothing: at most 15 messages may wait for a connection, and when one is delivered
 * can only be reckoned from the slowest client that is to be served.
 */
export class EstimatePacing implements Pacing {
  readonly waitingLimit = 8 * 1024 * 1024
  /** When each outstanding message is delivered to the slowest client, ascending. */
  #delivered: number[] = []
  /** When the slowest client has everything. */
  #idleAt = 0

  allowance(waiting: number, complete: boolean, now: number): number {
    const outstanding = this.#outstanding(now)
    if (outstanding >= MESSAGES) return 0
    if (complete || outstanding < SPARING_FROM || waiting >= this.waitingLimit) return waiting
    return waiting >= SPARING_SIZE * 2 ** (outstanding - SPARING_FROM) ? waiting : 0
  }

  published(bytes: number, now: number): void {
    this.#idleAt = Math.max(this.#idleAt, now) + bytes / MIN_CLIENT_RATE
    this.#delivered.push(Math.max(now + DELIVERY_TIME, this.#idleAt - SOCKET_BUFFERS / MIN_CLIENT_RATE))
  }

  credited(): void {}

  /** Who asks again has read the answer before. */
  asked(): void {
    this.#delivered = []
    this.#idleAt = 0
  }

  retryAt(now: number): number | undefined {
    this.#outstanding(now)
    return this.#delivered[0]
  }

  settled(now: number): boolean {
    return this.#outstanding(now) === 0
  }

  #outstanding(now: number): number {
    while (this.#delivered.length > 0 && (this.#delivered[0] as number) <= now) this.#delivered.shift()
    return this.#delivered.length
  }
}
