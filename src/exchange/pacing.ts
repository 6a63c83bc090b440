import { DELIVER_OUTSTANDING_MSGS, FLOW_CONTROL_WINDOW } from '../wire/limits.ts'

/** How it is known what may be published for a connection. */
export type PacingMode = 'credits' | 'controlPort' | 'estimate'

/**
 * Says how much may be published for one connection, so that Mongrel2 never ends it for having too much to deliver.
 * Times are in milliseconds of `performance.now()`.
 */
export interface Pacing {
  readonly mode: PacingMode
  /** Whether a message may not be published that is larger than what is allowed. */
  readonly strict: boolean
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
  written(bytes: number, now: number): boolean
  /** Whether an answer of the control port is worth asking for. */
  wantsFeedback(now: number): boolean
  /** The client asked for more with nothing under way: it has read what there was. */
  asked(): void
  /**
   * Whether it is worth asking the client itself what it has read, which a WebSocket can.
   *
   * @param waiting Bytes that wait to be published.
   * @param from Messages that may be outstanding before it is.
   */
  wantsProbe(waiting: number, from: number, now: number): boolean
  /** The client has read so many of the bytes that were published. */
  acknowledged(bytes: number): void
  /** Bytes that were published and have not been delivered, as far as can be known. */
  undelivered(now: number): number
  /** It asked before it had been answered, so that it may have done so before. */
  pipelines(now: number): void
  /** When `allowance` is worth asking again though no credits came; undefined where only credits help. */
  retryAt(now: number): number | undefined
  /** Whether everything published was delivered, as far as can be known: nothing has to be remembered. */
  settled(now: number): boolean
  /** Others may send to the connection from now on, too: some places are left to them. */
  share(): void
  /** Bytes that are known not to have been written yet; 0 where nobody tells, once the client has asked again. */
  readonly balance: number
  /** Whether Mongrel2 may have ended the connection because its client reads more slowly than was reckoned with. */
  mayBeOverrun(now: number): boolean
}

/** Pacing by credits, where Mongrel2 runs with `download.flow_control`: it tells each byte it has written. */
export class CreditPacing implements Pacing {
  readonly mode = 'credits'
  readonly strict = true
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

  wantsProbe(): boolean {
    return false
  }

  acknowledged(): void {}

  undelivered(): number {
    return this.#outstanding
  }

  pipelines(): void {}

  share(): void {}

  retryAt(): undefined {
    return undefined
  }

  settled(): boolean {
    return this.#outstanding === 0
  }

  get balance(): number {
    return this.#outstanding
  }

  mayBeOverrun(): boolean {
    return false
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
/** How many of these are left to others, who write to a socket by its token. */
export const FOREIGN_MESSAGES = 4
/** From so many messages outstanding on, each next one has to carry more, so that few messages carry much. */
const SPARING_FROM = 7
/** What the first of those has to carry, in bytes; each next one twice as much. */
const SPARING_SIZE = 256 * 1024
/** From so many messages outstanding on, who knows what became of them is asked: the control port, or a WebSocket's client. */
export const ASK_FROM = 4

/** A message that was published and may not have been delivered. */
interface OutstandingMessage {
  readonly publishedAt: number
  /** When the slowest client that is to be served has it. */
  readonly deliveredAt: number
  /** Bytes published for the connection before it, and up to its end. */
  readonly begin: number
  readonly end: number
}

/**
 * Pacing by estimate, where Mongrel2 says nothing: at most 15 messages may wait for a connection, and when one is delivered
 * can only be reckoned from the slowest client that is to be served.
 */
export class EstimatePacing implements Pacing {
  readonly mode: PacingMode = 'estimate'
  readonly strict = false
  readonly balance = 0
  readonly waitingLimit: number
  /** In the order in which they are delivered. */
  protected outstanding: OutstandingMessage[] = []
  /** The last that were taken as read since the client asked for more. */
  #takenAsRead: OutstandingMessage[] = []
  /** Bytes published since this was made. */
  protected total = 0
  readonly #bytesPerMillisecond: number
  #messages: number
  /** When the slowest client has everything. */
  #idleAt = 0
  /** Bytes and messages published since the client asked with nothing under way. */
  #bytesSinceAsked = 0
  #messagesSinceAsked = 0

  /** @param messages How many may be outstanding. */
  constructor(settings: EstimateSettings, messages = MESSAGES) {
    this.#messages = messages
    this.waitingLimit = settings.maxBufferedBytes
    this.#bytesPerMillisecond = settings.minClientRate / 1000
  }

  allowance(waiting: number, complete: boolean, now: number): number {
    const count = this.count(now)
    if (count >= this.#messages) return 0
    if (complete || count < SPARING_FROM || waiting >= this.waitingLimit) return waiting
    return waiting >= SPARING_SIZE * 2 ** (count - SPARING_FROM) ? waiting : 0
  }

  published(bytes: number, now: number): void {
    const begin = this.total
    this.total += bytes
    this.#bytesSinceAsked += bytes
    this.#messagesSinceAsked++
    this.#idleAt = Math.max(this.#idleAt, now) + bytes / this.#bytesPerMillisecond
    const read = this.#idleAt - SOCKET_BUFFERS / this.#bytesPerMillisecond
    const deliveredAt = Math.max(now + DELIVERY_TIME, read)
    this.outstanding.push({ publishedAt: now, deliveredAt, begin, end: this.total })
  }

  credited(): void {}

  written(_bytes: number, _now: number): boolean {
    return false
  }

  wantsFeedback(_now: number): boolean {
    return false
  }

  /** Who asks again has read the answer before. */
  asked(): void {
    for (const message of this.outstanding) this.#takenAsRead.push(message)
    if (this.#takenAsRead.length > MESSAGES) this.#takenAsRead.splice(0, this.#takenAsRead.length - MESSAGES)
    this.outstanding = []
    this.#forget()
  }

  wantsProbe(waiting: number, from: number, now: number): boolean {
    // At the latest with the last place: what has to wait until one is free is asked no more.
    return this.count(now) >= Math.min(from, this.#messages - 1) || waiting + this.undelivered(now) > SOCKET_BUFFERS
  }

  acknowledged(bytes: number): void {
    this.delivered(bytes)
    if (this.outstanding.length === 0) this.#forget()
  }

  undelivered(now: number): number {
    this.count(now)
    const [first] = this.outstanding
    return first === undefined ? 0 : this.total - first.begin
  }

  /** Its requests may have come one by one though it sent them together: what was taken as read may not have left Mongrel2. */
  pipelines(now: number): void {
    const doubtful: OutstandingMessage[] = []
    for (const message of this.#takenAsRead) {
      const deliveredAt = message.publishedAt + DELIVERY_TIME
      if (deliveredAt > now) doubtful.push({ ...message, deliveredAt })
    }
    this.outstanding.unshift(...doubtful)
    this.#takenAsRead = []
  }

  share(): void {
    this.#messages = MESSAGES - FOREIGN_MESSAGES
  }

  retryAt(now: number): number | undefined {
    return this.outstanding.find(({ deliveredAt }) => deliveredAt > now)?.deliveredAt
  }

  settled(now: number): boolean {
    const last = this.outstanding.at(-1)
    return last === undefined || last.deliveredAt <= now
  }

  /** What fits the sockets' buffers, or Mongrel2's places, or was published long ago, cannot be too much. */
  mayBeOverrun(now: number): boolean {
    return (
      this.#messagesSinceAsked > DELIVER_OUTSTANDING_MSGS &&
      this.#bytesSinceAsked > SOCKET_BUFFERS &&
      !this.settled(now)
    )
  }

  /** So many of the bytes published were delivered. */
  protected delivered(bytes: number): void {
    while (this.outstanding.length > 0 && (this.outstanding[0] as OutstandingMessage).end <= bytes) {
      this.outstanding.shift()
    }
  }

  /** The client has read everything. */
  #forget(): void {
    this.#idleAt = 0
    this.#bytesSinceAsked = 0
    this.#messagesSinceAsked = 0
  }

  /** How many messages may wait in Mongrel2. */
  protected count(now: number): number {
    while (this.outstanding.length > 0 && (this.outstanding[0] as OutstandingMessage).deliveredAt <= now) {
      this.outstanding.shift()
    }
    return this.outstanding.length
  }
}

/**
 * Bytes of a connection that may wait in Mongrel2 where its control port is asked: more than it writes between two answers, and few
 * enough that Mongrel2 does not copy a whole body before its client has read the first of it.
 */
const OUTSTANDING_BYTES = 4 * 1024 * 1024
/** The bytes of a message there: several at once, so that there is something to write while others are told of. */
const MESSAGE_BYTES = 512 * 1024

/** How long an answer of the control port may take until the estimate holds again, in milliseconds. */
const ANSWER_PATIENCE = 10_000

/**
 * Pacing by the control port, which tells how many bytes Mongrel2 has written to each connection: a client may read as slowly as it
 * likes. The estimate holds where no answer comes, and where it cannot be told which of these bytes are ours.
 */
export class ControlPacing extends EstimatePacing {
  override readonly mode: PacingMode = 'controlPort'
  /** Bytes written to the connection that are none of ours: other Handlers', or from before this was made. */
  #foreign: number | undefined
  /** Whether everything written to it is ours. */
  #exact: boolean
  #heardAt = Number.NEGATIVE_INFINITY

  /** @param fresh Whether nothing was published for the connection before this was made. */
  constructor(settings: EstimateSettings, fresh: boolean) {
    super(settings)
    this.#exact = fresh
    if (fresh) this.#foreign = 0
  }

  override allowance(waiting: number, complete: boolean, now: number): number {
    const count = this.count(now)
    if (now >= this.#knownUntil) return super.allowance(waiting, complete, now)
    if (count >= MESSAGES || (count >= ASK_FROM && this.undelivered(now) >= OUTSTANDING_BYTES)) return 0
    // Few places are left, and the control port will tell soon of others: small pieces are gathered meanwhile.
    if (!complete && count >= SPARING_FROM && waiting < MESSAGE_BYTES) return 0
    return Math.min(waiting, MESSAGE_BYTES)
  }

  override wantsFeedback(now: number): boolean {
    return this.count(now) >= ASK_FROM
  }

  /**
   * The first answer has to be interpreted: where more was written than we have published, it cannot be told how much of ours
   * is in it, and none is assumed.
   */
  override written(bytes: number, now: number): boolean {
    this.#heardAt = now
    this.#foreign ??= bytes <= this.total ? 0 : bytes
    const delivered = bytes - this.#foreign
    if (delivered > this.total) {
      this.#foreign += delivered - this.total
      this.#exact = false
    }
    const before = this.outstanding.length
    this.delivered(delivered)
    return this.outstanding.length < before
  }

  override retryAt(now: number): number | undefined {
    const until = this.#knownUntil
    return now < until && until < Number.POSITIVE_INFINITY ? until : super.retryAt(now)
  }

  override mayBeOverrun(now: number): boolean {
    return now >= this.#knownUntil && super.mayBeOverrun(now)
  }

  protected override count(now: number): number {
    return now < this.#knownUntil ? this.outstanding.length : super.count(now)
  }

  /** Until when what was not found delivered can be taken as outstanding, since the control port would have said so. */
  get #knownUntil(): number {
    if (!this.#exact) return Number.NEGATIVE_INFINITY
    const asked = this.outstanding[ASK_FROM - 1]
    return asked === undefined ? Number.POSITIVE_INFINITY : Math.max(asked.publishedAt, this.#heardAt) + ANSWER_PATIENCE
  }
}
