import { Mongrel2Error } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/log.ts'
import { Backoff, type Deferred, deferred } from '../../runtime/promises.ts'

/** Waits between starts of workers that end before they have loaded the app, in milliseconds. */
const BACKOFF = [100, 10_000] as const

/** A worker process, as far as it matters to who keeps it. */
export interface SeatedWorker {
  readonly pid: number
  /** Whether it has its app. */
  readonly loaded: boolean
  /** Whether it can take over from another. */
  readonly ready: boolean
  /** Whether it was told to end. */
  stopping: boolean
  kill(reason: string): void
}

/** A place for one worker process, which is filled again when it becomes free. */
interface Seat<Worker> {
  current: Worker | undefined
  /** The one that takes its place when it is ready. */
  next: Worker | undefined
  timer: NodeJS.Timeout | undefined
  /** Why `next` asked to be replaced before it took its place. */
  nextLeaves: string | undefined
}

/** What keeping seats filled brings about. */
export interface SeatsOwner<Worker> {
  start(): Worker
  /** A worker is to be left, since another is there. */
  retire(worker: Worker): void
}

/** Keeps so many worker processes running, and replaces them without a gap. */
export class Seats<Worker extends SeatedWorker> {
  /** Resolves when each seat has had a worker that was ready; rejects when one ended before it had loaded the app. */
  readonly filled: Promise<void>
  readonly #seats: Seat<Worker>[]
  readonly #owner: SeatsOwner<Worker>
  readonly #logger: Logger
  readonly #filled: Deferred<void> = deferred()
  readonly #leaving = new Map<Worker, Deferred<void>>()
  readonly #backoff = new Backoff(...BACKOFF)
  /** Whether the last worker that tried could not load the app. */
  #loadFailed = false
  #closed = false

  constructor(count: number, owner: SeatsOwner<Worker>, logger: Logger) {
    this.filled = this.#filled.promise
    this.#owner = owner
    this.#logger = logger
    this.#seats = Array.from({ length: count }, () => ({
      current: undefined,
      next: undefined,
      timer: undefined,
      nextLeaves: undefined,
    }))
  }

  /** Whether the last workers that were started have failed to load the app. */
  get failing(): boolean {
    return this.#backoff.failed
  }

  fill(): void {
    for (const seat of this.#seats) this.#start(seat)
  }

  /** Replaces all workers; resolves when those of now are gone. Rejects when the app cannot be loaded: then those of now stay for a while. */
  async reload(): Promise<void> {
    const gone = this.#seats.map((seat) => {
      // One that is starting may have read what was there before.
      const { next } = seat
      seat.next = undefined
      if (next !== undefined) {
        next.stopping = true
        next.kill('it is replaced')
      }
      this.#start(seat)
      return seat.current === undefined ? undefined : this.#departure(seat.current)
    })
    await Promise.all(gone)
  }

  /** Replaces a worker, unless it is being replaced. One that has not taken its place yet is replaced when it has. */
  replace(worker: Worker, reason: string): void {
    const waiting = this.#seats.find(({ next }) => next === worker)
    if (waiting !== undefined) waiting.nextLeaves ??= reason
    const seat = this.#seats.find(({ current }) => current === worker)
    if (this.#closed || seat === undefined || seat.next !== undefined || seat.timer !== undefined) return
    this.#logger.info?.(`mongrel2-fetch replaces worker ${worker.pid}: ${reason}`)
    this.#start(seat)
  }

  /** A worker may have become ready. */
  settle(worker: Worker): void {
    const seat = this.#seats.find(({ next }) => next === worker)
    if (seat === undefined || !worker.ready) return
    this.#backoff.reset()
    // Without this line nobody would know that the app serves after all.
    if (this.#loadFailed) {
      this.#logger.warn?.(`mongrel2-fetch loaded the app, which failed before: worker ${worker.pid} serves it`)
    }
    this.#loadFailed = false
    const { current } = seat
    seat.current = worker
    seat.next = undefined
    if (current !== undefined) this.#owner.retire(current)
    if (this.#seats.every((each) => each.current !== undefined)) this.#filled.resolve()
    if (seat.nextLeaves !== undefined) this.replace(worker, seat.nextLeaves)
  }

  /** A worker is gone. */
  vacate(worker: Worker, reason: string): void {
    this.#leaving.get(worker)?.resolve()
    this.#leaving.delete(worker)
    for (const seat of this.#seats) {
      if (seat.current === worker) {
        seat.current = undefined
        if (seat.next === undefined && seat.timer === undefined) this.#start(seat)
      } else if (seat.next === worker) {
        seat.next = undefined
        if (!worker.loaded) this.#complain(seat, reason)
        this.#startLater(seat)
      }
    }
  }

  /** No worker is started any more. */
  close(): void {
    this.#closed = true
    this.#filled.reject(new Mongrel2Error('closed', 'the server was closed before its workers were ready'))
    for (const seat of this.#seats) clearTimeout(seat.timer)
  }

  #start(seat: Seat<Worker>): void {
    clearTimeout(seat.timer)
    seat.timer = undefined
    seat.nextLeaves = undefined
    if (!this.#closed) seat.next = this.#owner.start()
  }

  #startLater(seat: Seat<Worker>): void {
    if (this.#closed) return
    seat.timer = setTimeout(() => this.#start(seat), this.#backoff.next())
  }

  #complain({ current }: Seat<Worker>, reason: string): void {
    this.#loadFailed = true
    const error = new Mongrel2Error('load_failed', `a worker could not load the app: ${reason}`)
    this.#filled.reject(error)
    if (current === undefined) return
    this.#leaving.get(current)?.reject(error)
    this.#leaving.delete(current)
  }

  async #departure(worker: Worker): Promise<void> {
    const departure = this.#leaving.get(worker) ?? deferred()
    this.#leaving.set(worker, departure)
    await departure.promise
  }
}
