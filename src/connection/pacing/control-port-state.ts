/** Silence of a control port after which connections are paced by estimate, in milliseconds. */
export const ANSWER_PATIENCE = 10_000

/** After so many responses that it did not report, a control port is taken for that of another Mongrel2. */
const MOST_REFUTATIONS = 3
/** Answers that must have come meanwhile: Mongrel2 may give the first before it has written. */
const ANSWERS = 2

/** What is known of a control port in one epoch. */
export class ControlPortState {
  /** Whether it certainly belongs to the Mongrel2 of the connections: the user has named it, or it told a number that nobody else can know. */
  proven: boolean
  /** Answers it has given. */
  answers = 0
  /** Whether it gives answers, as far as it was asked. */
  answering = true
  readonly #problem: () => string | undefined
  #answeredAt = Number.NEGATIVE_INFINITY
  /** When it may be asked again after it gave no answer, and how long that was; longer each time. */
  #retryAt = Number.NEGATIVE_INFINITY
  #retryTime = ANSWER_PATIENCE
  #refutations = 0

  /** @param problem Says why it cannot be asked, if it cannot. */
  constructor(named: boolean, problem: () => string | undefined) {
    this.proven = named
    this.#problem = problem
  }

  /** Whether its answers decide. */
  get used(): boolean {
    return this.proven && this.answering
  }

  /** The reason why it is not used, for messages to the user; undefined where no problem is known. */
  get problem(): string | undefined {
    if (this.#refutations >= MOST_REFUTATIONS) return 'it is that of another Mongrel2'
    return this.answering ? this.#problem() : 'it gives no answer'
  }

  /** Whether it is worth finding out if it is the right one. */
  mayBeProven(now: number): boolean {
    if (this.proven || this.#refutations >= MOST_REFUTATIONS) return false
    return (this.answering || now >= this.#retryAt) && this.#problem() === undefined
  }

  answered(now: number): void {
    this.answers++
    this.answering = true
    this.#answeredAt = now
    this.#retryTime = ANSWER_PATIENCE
  }

  failed(now: number): void {
    if (now - this.#answeredAt < ANSWER_PATIENCE) return
    this.answering = false
    this.#retryAt = now + this.#retryTime
    this.#retryTime *= 2
  }

  /** It did not report in time what was published for a connection since it had given `answersBefore` answers. */
  refuted(answersBefore: number): void {
    if (this.answers - answersBefore >= ANSWERS) this.#refutations++
  }
}
