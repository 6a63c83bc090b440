import { DELIVER_OUTSTANDING_MSGS } from '../../wire/limits.ts'
import { ANSWER_PATIENCE } from './control-port-state.ts'
import type { Pacing, PacingMode } from './pacing.ts'

/** What a pacing without credits has to know. */
export interface EstimateSettings {
  /** Bytes a second that a client reads at least, for its messages to be taken as delivered in time. */
  readonly minClientRate: number
  /** Bytes that may be held for one stream. */
  readonly maxBufferedBytes: number
}

/** Time in which a Mongrel2 that is busy hands a message to the client's socket, in milliseconds, however small it is. */
const DELIVERY_TIME = 200
/** How long Mongrel2 may get no processor time, in milliseconds: a message keeps its place that long, unless it is known to be delivered. */
const STANDSTILL_TIME = 1000
/** Bytes that the sockets of both ends hold at the very least, so that they do not wait in Mongrel2. */
export const SOCKET_BUFFERS = 32 * 1024
/** One message less than Mongrel2 allows: the last place is for the closing reply, which it would lose. */
export const MESSAGES = DELIVER_OUTSTANDING_MSGS - 1
/** How many of these are left to repliers, which write to a socket by its token. */
export const REPLIER_MESSAGES = 4
/** Outstanding messages from which on each further one has to carry more, so that few messages carry much. */
export const SPARING_FROM = 7
/** Bytes that the first of those has to carry; each further one carries twice as many. */
const SPARING_SIZE = 256 * 1024
/** Milliseconds before the first of them that carries less; each further one waits as much longer: eight places last for a standstill. */
const SPARING_INTERVAL = STANDSTILL_TIME / 36
/** Outstanding messages from which on the control port, or the client of a WebSocket, is asked what was delivered. */
export const ASK_FROM = 4

/** Numbers kept of a message, and the index of its second. */
const NUMBERS = 3
const DELIVERED_AT = 1
/** Numbers of delivered messages that are removed at once, which is faster than message by message. */
const REMOVED_TOGETHER = 48

/** Bytes of a connection that may wait in Mongrel2, beyond those that the slowest client has read and those that the sockets hold. */
const CONNECTION_BYTES = 8 * 1024 * 1024
/** The largest message in bytes: no more than 16 of them wait for a client that asks again and again though it reads nothing. */
const MESSAGE_BYTES = 1024 * 1024
/** Bytes of the smallest message where not everything that waits may be published. */
const LEAST_PIECE = 16 * 1024
/** How long to wait until other connections may have left some room, in milliseconds. */
const ROOM_INTERVAL = 1000

/** How many messages and bytes may wait for one connection, and the most bytes of a message. */
export type EstimateBounds = Partial<Record<'messages' | 'bytes' | 'messageBytes', number>>

/** Pacing by estimate, where Mongrel2 reports nothing: clients are assumed to read as fast as the slowest that is to be served. */
export class EstimatePacing implements Pacing {
  readonly strict = false
  readonly unwrittenBytes = 0
  readonly waitingLimit: number
  /** Bytes published since this was made. */
  protected total = 0
  // Objects would be slow in a broadcast.
  /** Three numbers a message: when it was published, when the slowest client to be served has it, the bytes published up to its end. */
  readonly #messages: number[] = []
  /** Index of the first outstanding message. */
  #first = 0
  /** Index of the first message before it that the client seems to have read, since it asked for more. */
  #firstRead = 0
  readonly #bytesPerMillisecond: number
  readonly #budget: WaitingBudget
  readonly #bytes: number
  readonly #messageBytes: number
  #mostMessages: number
  /** When the slowest client has everything. */
  #idleAt = 0
  /** Bytes of the total that were reported as delivered, or read before the client's last request. */
  #read = 0
  /** When there may be room for more; undefined unless there was too little. */
  #roomAt: number | undefined
  /** Until when no message leaves its place by time alone: a WebSocket's client was sent a ping and has not answered. */
  #answerUntil = Number.NEGATIVE_INFINITY
  /** Bytes and messages published since the client asked with nothing under way. */
  #bytesSinceAsked = 0
  #messagesSinceAsked = 0

  /** @param budget What may wait for all connections together. */
  constructor(
    settings: EstimateSettings,
    budget: WaitingBudget,
    { messages = MESSAGES, bytes = CONNECTION_BYTES, messageBytes = MESSAGE_BYTES }: EstimateBounds = {},
  ) {
    this.#mostMessages = messages
    this.#bytes = bytes
    this.#messageBytes = messageBytes
    this.#budget = budget
    this.waitingLimit = settings.maxBufferedBytes
    this.#bytesPerMillisecond = settings.minClientRate / 1000
  }

  get mode(): PacingMode {
    return 'estimate'
  }

  allowance(waiting: number, complete: boolean, now: number): number {
    const count = this.count(now)
    this.#roomAt = undefined
    if (count >= this.#mostMessages) return this.#wait(this.#freeAt())
    const gathers = !complete && count >= SPARING_FROM && waiting < this.waitingLimit
    if (gathers && waiting < Math.min(SPARING_SIZE * 2 ** (count - SPARING_FROM), this.#messageBytes)) {
      const deliveredAt = this.#deliveredAt(this.#messages.length - NUMBERS * SPARING_FROM)
      const publishedAt = this.#messages[this.#messages.length - NUMBERS] as number
      const goesAt = Math.max(deliveredAt, publishedAt + SPARING_INTERVAL * (count - SPARING_FROM + 1))
      if (now < goesAt) return this.#wait(goesAt)
    }
    const wanted = Math.min(waiting, this.#messageBytes)
    const unread = this.#unread(now)
    const room = this.#room(wanted, unread, now)
    if (room >= wanted) return wanted
    // Small pieces would take all places before much is delivered.
    const least = Math.min(wanted, Math.max(LEAST_PIECE, unread / MESSAGES))
    if (room >= least) return room
    return this.#wait(now + Math.min((least - room) / this.#bytesPerMillisecond, ROOM_INTERVAL))
  }

  published(bytes: number, now: number): void {
    this.total += bytes
    this.#bytesSinceAsked += bytes
    this.#messagesSinceAsked++
    this.#idleAt = Math.max(this.#idleAt, now) + bytes / this.#bytesPerMillisecond
    const read = this.#idleAt - SOCKET_BUFFERS / this.#bytesPerMillisecond
    if (this.#firstRead > REMOVED_TOGETHER) this.#remove()
    this.#messages.push(now, Math.max(now + DELIVERY_TIME, read), this.total)
    this.#budget.set(this, this.waitingInMongrel2(now), now)
  }

  /** A new request proves that the answers before it were read. */
  asked(): void {
    this.#first = this.#messages.length
    this.#firstRead = Math.max(this.#firstRead, this.#first - NUMBERS * MESSAGES)
    this.#forget()
  }

  wantsProbe(waiting: number, from: number, now: number): boolean {
    // At the latest with the last place: a message that waits for a place is not asked about any more.
    if (this.count(now) >= Math.min(from, this.#mostMessages - 1)) return true
    return waiting + this.undelivered(now) > SOCKET_BUFFERS
  }

  probed(now: number): void {
    this.#answerUntil = now + ANSWER_PATIENCE
  }

  acknowledged(bytes: number): void {
    this.#answerUntil = Number.NEGATIVE_INFINITY
    this.delivered(bytes)
    if (this.outstanding === 0) this.#forget()
  }

  undelivered(now: number): number {
    // From the end: most often few are undelivered, and those before them are all delivered.
    let at = this.#messages.length
    while (at > this.#first && !this.isDelivered(this.#deliveredAt(at - NUMBERS), now)) at -= NUMBERS
    return this.total - this.#begin(at)
  }

  messageReceived(now: number): void {
    // What seemed to be read may not have left Mongrel2: requests that came one by one may have been sent together.
    const messages = this.#messages
    let at = this.#first
    while (at < messages.length && this.isDelivered(this.#deliveredAt(at), now)) at += NUMBERS
    for (; at > this.#firstRead; at -= NUMBERS) {
      const deliveredAt = (messages[at - NUMBERS] as number) + DELIVERY_TIME
      if (deliveredAt <= now) break
      messages[at - NUMBERS + DELIVERED_AT] = deliveredAt
    }
    this.#first = at
    this.#firstRead = at
  }

  share(): void {
    this.#mostMessages = MESSAGES - REPLIER_MESSAGES
  }

  retryAt(now: number): number | undefined {
    let at = this.#first
    while (at < this.#messages.length && this.#deliveredAt(at) <= now) at += NUMBERS
    if (at === this.#messages.length) return this.#roomAt
    return Math.min(this.#roomAt ?? Number.POSITIVE_INFINITY, this.#deliveredAt(at))
  }

  settled(now: number): boolean {
    return this.outstanding === 0 || this.#deliveredAt(this.#messages.length - NUMBERS) <= now
  }

  /** What fits in the sockets' buffers or in Mongrel2's places, or was published long ago, cannot be too much. */
  mayBeOverrun(now: number): boolean {
    const much = this.#messagesSinceAsked > DELIVER_OUTSTANDING_MSGS && this.#bytesSinceAsked > SOCKET_BUFFERS
    return much && !this.settled(now)
  }

  end(): void {
    this.#budget.delete(this)
  }

  waitingInMongrel2(now: number): number {
    return Math.max(0, this.#unread(now) - SOCKET_BUFFERS)
  }

  /** Number of outstanding messages. */
  protected get outstanding(): number {
    return (this.#messages.length - this.#first) / NUMBERS
  }

  /** Bytes published before the first outstanding message. */
  protected get outstandingFrom(): number {
    return this.#begin(this.#first)
  }

  /** When an outstanding message was published, by its place among them; undefined where there are fewer. */
  protected publishedAt(place: number): number | undefined {
    return this.#messages[this.#first + NUMBERS * place]
  }

  /** Whether an outstanding message begins or ends after so many bytes. */
  protected isBoundary(bytes: number): boolean {
    let at = this.#first
    while (at < this.#messages.length && this.#begin(at) < bytes) at += NUMBERS
    return this.#begin(at) === bytes
  }

  /** So many of the bytes published were delivered. Returns whether an outstanding message was. */
  protected delivered(bytes: number): boolean {
    this.#read = Math.max(this.#read, bytes)
    const before = this.#first
    while (this.#first < this.#messages.length && this.#begin(this.#first + NUMBERS) <= bytes) this.#free()
    return this.#first > before
  }

  /** How many messages may wait in Mongrel2, be it busy or at a standstill. */
  count(now: number): number {
    while (this.#first < this.#messages.length && this.#freeAt() <= now) this.#free()
    return this.outstanding
  }

  /** Whether a message is delivered unless Mongrel2 is at a standstill. */
  protected isDelivered(deliveredAt: number, now: number): boolean {
    return deliveredAt <= now
  }

  #deliveredAt(at: number): number {
    return this.#messages[at + DELIVERED_AT] as number
  }

  /** A message begins where the one before it ends. */
  #begin(at: number): number {
    return at === 0 ? 0 : (this.#messages[at - 1] as number)
  }

  /** When the first outstanding message leaves its place without news of it. */
  #freeAt(): number {
    const publishedAt = this.#messages[this.#first] as number
    return Math.max(this.#deliveredAt(this.#first), publishedAt + STANDSTILL_TIME, this.#answerUntil)
  }

  /** The first outstanding message is certainly delivered, and those before it are, too. */
  #free(): void {
    this.#first += NUMBERS
    this.#firstRead = this.#first
  }

  /** Removes delivered messages, but the last of them: the next one begins at its end. */
  #remove(): void {
    const removed = this.#firstRead - NUMBERS
    this.#messages.splice(0, removed)
    this.#first -= removed
    this.#firstRead -= removed
  }

  #wait(until: number): 0 {
    this.#roomAt = until
    return 0
  }

  /** The client has read everything. */
  #forget(): void {
    this.#read = this.total
    this.#idleAt = 0
    this.#bytesSinceAsked = 0
    this.#messagesSinceAsked = 0
    this.end()
  }

  /** Bytes that the slowest client has not read. */
  #unread(now: number): number {
    return Math.min(Math.max(0, this.#idleAt - now) * this.#bytesPerMillisecond, this.total - this.#read)
  }

  /** Bytes that may be published, of so many that wait: the sockets take some of them, the others wait in Mongrel2. */
  #room(waiting: number, unread: number, now: number): number {
    const sockets = Math.max(0, SOCKET_BUFFERS - unread)
    const own = Math.min(waiting, this.#bytes + SOCKET_BUFFERS - unread)
    if (own <= sockets) return Math.floor(own)
    return Math.floor(Math.min(own, sockets + this.#budget.room(own - sockets, now)))
  }
}

/** A connection's pacing. */
type Holder = Pick<EstimatePacing, 'waitingInMongrel2'>

/** From so many connections on, those that have nothing there any more are forgotten. */
const LEAST_FORGOTTEN = 1024
/** How often the bytes of all connections are counted anew while there is no room, in milliseconds. */
const COUNT_INTERVAL = 100

/** Bounds what waits in Mongrel2 for all connections together that are paced by estimate. */
export class WaitingBudget {
  readonly #limit: number
  readonly #exhausted: () => void
  readonly #holders = new Map<Holder, number>()
  #used = 0
  #countedAt = Number.NEGATIVE_INFINITY
  #forgetAt = LEAST_FORGOTTEN

  /** @param exhausted Called when a connection has to wait because of the others. */
  constructor(limit: number, exhausted: () => void = () => {}) {
    this.#limit = limit
    this.#exhausted = exhausted
  }

  /** Bytes that are free, of so many that are wanted. */
  room(wanted: number, now: number): number {
    if (this.#limit - this.#used < wanted && now - this.#countedAt >= COUNT_INTERVAL) this.#count(now)
    const room = Math.max(0, this.#limit - this.#used)
    if (room < wanted) this.#exhausted()
    return room
  }

  /** A connection has so many bytes there. One that is closed keeps them: Mongrel2 still has them for its client. */
  set(holder: Holder, bytes: number, now: number): void {
    this.#note(holder, bytes)
    if (this.#holders.size < this.#forgetAt) return
    this.#count(now)
    this.#forgetAt = Math.max(LEAST_FORGOTTEN, 2 * this.#holders.size)
  }

  /** It has none any more. */
  delete(holder: Holder): void {
    this.#note(holder, 0)
  }

  #note(holder: Holder, bytes: number): void {
    const before = this.#holders.get(holder) ?? 0
    if (bytes === before) return // most often 0
    this.#used += bytes - before
    if (bytes > 0) this.#holders.set(holder, bytes)
    else this.#holders.delete(holder)
  }

  /** Clients have read meanwhile. */
  #count(now: number): void {
    this.#countedAt = now
    for (const holder of this.#holders.keys()) this.#note(holder, holder.waitingInMongrel2(now))
  }
}
