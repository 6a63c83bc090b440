import { ANSWER_PATIENCE, type ControlPortState } from './control-port-state.ts'
import {
  ASK_FROM,
  EstimatePacing,
  type EstimateSettings,
  MESSAGES,
  SOCKET_BUFFERS,
  SPARING_FROM,
  type WaitingBudget,
} from './estimate-pacing.ts'
import type { PacingMode } from './pacing.ts'

/** Bytes of a connection that may wait in Mongrel2: more than it writes between two answers, few enough that it copies no whole body. */
const OUTSTANDING_BYTES = 4 * 1024 * 1024
/** The bytes of a message there: several at once, so that there is something to write while others are reported. */
const MESSAGE_BYTES = 512 * 1024

/** A response with so many bytes to send is large enough to prove the control port. */
const PROVE_FROM = 64 * 1024
/** The most bytes of the message that proves it: any client's socket takes them at once. */
const PROOF_BYTES = 16 * 1024
/** How long a response may wait for the control port to be proven, in milliseconds, and for its first answer. */
const PROOF_TIME = 250
const REACH_TIME = 1000

/** The proof of a control port that the user has not named. */
interface Proof {
  /** How long to wait for it. Then the response goes on; the proof may still come. */
  readonly until: number
  expired: boolean
  readonly answersBefore: number
  /** The size of the message that proves it: random, once it may be published. */
  size: number | undefined
  /** Where that message ends, once it was published, and others behind it that were cut off and so end at random places, too. */
  readonly ends: number[]
}

/**
 * Pacing by the control port, which reports how many bytes Mongrel2 has written to each connection: a client may read as slowly as it likes.
 * The estimate decides where no answer comes, and until a port that was found, not named, is proven to be the right one.
 *
 * The port also counts what other Handlers or Mongrel2 itself answered, and what was published before this was made. None of these write
 * while a response of ours is under way, so the first answer after a request tells what to deduct.
 */
export class ControlPacing extends EstimatePacing {
  readonly #port: ControlPortState
  /** Bytes written to the connection that are not counted in `total`. */
  #base: number | undefined
  /** Whether an answer has come since the client's last request. */
  #compared = false
  /** Whether others may write to the connection at any time. */
  #shared = false
  #proof: Proof | undefined
  /** Whether this response was used for a proof. */
  #tried = false
  /** The state of the last question to the port. An answer from before the client's last request tells nothing about the time after it. */
  #question: 'asked' | 'outdated' | undefined
  #answeredAt = Number.NEGATIVE_INFINITY

  /** @param fresh Whether nothing was published for the connection before this was made. */
  constructor(settings: EstimateSettings, budget: WaitingBudget, port: ControlPortState, fresh: boolean) {
    super(settings, budget)
    this.#port = port
    if (fresh) this.#base = 0
  }

  get undecided(): boolean {
    return this.#proof !== undefined && !this.#proof.expired && !this.#port.proven
  }

  override get mode(): PacingMode {
    return this.#port.used && !this.#shared ? 'controlPort' : 'estimate'
  }

  override allowance(waiting: number, complete: boolean, now: number): number {
    if (!this.#port.proven && !this.#shared) {
      const size = this.#prove(waiting, now)
      if (size !== undefined) return size
      if (this.#proof !== undefined) {
        // A message behind the one that was published for the proof.
        const allowed = super.allowance(waiting, complete, now)
        this.#proof.size = allowed < waiting ? allowed : undefined
        return allowed
      }
    }
    if (now >= this.#knownUntil) return super.allowance(waiting, complete, now)
    const count = this.count(now)
    // What is published before the first answer may count as outstanding though it is not; it must not take all places.
    if (count >= (this.#compared ? MESSAGES : SPARING_FROM)) return 0
    if (count >= ASK_FROM && this.undelivered(now) >= OUTSTANDING_BYTES) return 0
    // Few places are left, and the control port will soon report others as free: small pieces are gathered meanwhile.
    if (!complete && count >= SPARING_FROM && waiting < MESSAGE_BYTES) return 0
    return Math.min(waiting, MESSAGE_BYTES)
  }

  override published(bytes: number, now: number): void {
    super.published(bytes, now)
    const proof = this.#proof
    if (proof === undefined) return
    if (bytes === proof.size) proof.ends.push(this.total)
    // Messages of a message socket go whole.
    else if (proof.ends.length === 0) this.#proof = undefined
  }

  override asked(): void {
    super.asked()
    this.#compared = false
    this.#proof = undefined
    this.#tried = false
    if (this.#question === 'asked') this.#question = 'outdated'
  }

  override share(): void {
    super.share()
    this.#shared = true
    this.#proof = undefined
  }

  wantsFeedback(now: number): boolean {
    if (this.#shared) return false
    return this.#port.proven ? this.count(now) >= ASK_FROM : this.#proof !== undefined
  }

  feedbackAsked(): void {
    this.#question = 'asked'
  }

  written(bytes: number, now: number): boolean {
    const outdated = this.#question === 'outdated'
    this.#question = undefined
    if (this.#shared || outdated) return false
    this.#answeredAt = now
    if (this.#port.proven && this.#proof !== undefined) {
      // Another connection was quicker: what was assumed for the proof has not been confirmed.
      this.#proof = undefined
      this.#compared = false
    }
    if (!this.#compared) this.#compare(bytes)
    const own = bytes - (this.#base ?? 0)
    if (!this.#port.proven) return this.#findProof(own)
    return this.delivered(own)
  }

  override retryAt(now: number): number | undefined {
    if (this.#proof !== undefined && !this.#port.proven && now < this.#proof.until) return this.#proof.until
    const until = this.#knownUntil
    return now < until && until < Number.POSITIVE_INFINITY ? until : super.retryAt(now)
  }

  override mayBeOverrun(now: number): boolean {
    return now >= this.#knownUntil && super.mayBeOverrun(now)
  }

  /** Only what is there by estimate is bounded for all connections together. */
  override waitingInMongrel2(now: number): number {
    return this.mode === 'controlPort' ? 0 : super.waitingInMongrel2(now)
  }

  override count(now: number): number {
    return now < this.#knownUntil ? this.outstanding : super.count(now)
  }

  protected override isDelivered(deliveredAt: number, now: number): boolean {
    return now >= this.#knownUntil && super.isDelivered(deliveredAt, now)
  }

  /** Finds out what to deduct from the bytes that were written. */
  #compare(bytes: number): void {
    this.#compared = true
    // For a proof, everything is assumed to be written: a wrong assumption proves nothing.
    if (!this.#port.proven) this.#base = bytes - this.total
    // Others have written too if it is no sum of our messages: then none of the outstanding ones is assumed to be in it.
    else if (this.#base === undefined || !this.isBoundary(bytes - this.#base)) this.#base = bytes - this.outstandingFrom
  }

  /**
   * Finds out whether the port is that of this connection's Mongrel2: asks it what was written before, publishes a message of a random size, and
   * asks again. Returns the size of that message, 0 to wait for an answer, or undefined where nothing can be found out now.
   */
  #prove(waiting: number, now: number): number | undefined {
    const proof = this.#proof
    if (proof === undefined) {
      const possible = !this.#tried && waiting >= PROVE_FROM && this.undelivered(now) <= SOCKET_BUFFERS
      if (!possible || !this.#port.mayBeProven(now)) return undefined
      this.#tried = true
      this.#compared = false
      const { answers } = this.#port
      const until = now + (answers === 0 ? REACH_TIME : PROOF_TIME)
      this.#proof = { until, answersBefore: answers, expired: false, size: undefined, ends: [] }
      return 0
    }
    if (now >= proof.until) {
      // The response goes on without a proof. The messages that were published for it may still be found.
      if (!proof.expired) this.#port.refuted(proof.answersBefore)
      proof.expired = true
      if (proof.ends.length === 0 || now >= proof.until + ANSWER_PATIENCE) this.#proof = undefined
      return undefined
    }
    if (!this.#compared || proof.ends.length > 0) return 0
    proof.size ??= process.getBuiltinModule('node:crypto').randomInt(PROOF_BYTES) + 1
    return proof.size
  }

  /** @returns Whether a message that proves it was found delivered. */
  #findProof(bytes: number): boolean {
    if (this.#proof?.ends.includes(bytes) !== true) return false
    this.#proof = undefined
    this.#port.proven = true
    this.delivered(bytes)
    return true
  }

  /** Until when a message that was not reported as delivered is certainly outstanding: the control port would have reported it. */
  get #knownUntil(): number {
    if (!this.#port.used || this.#shared) return Number.NEGATIVE_INFINITY
    const askedAt = this.publishedAt(ASK_FROM - 1)
    return askedAt === undefined ? Number.POSITIVE_INFINITY : Math.max(askedAt, this.#answeredAt) + ANSWER_PATIENCE
  }
}
