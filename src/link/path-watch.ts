import { connect, type Socket } from 'node:net'
import { type Deferred, deferred, Pause } from '../runtime/promises.ts'
import type { LinkPublisher } from './transport.ts'
import { addressOf } from './zmtp/connection.ts'

/** The time between two looks at the path while messages come, and between two while it is lost, in milliseconds. */
const INTERVAL = 2000
/** How long Mongrel2 may take to answer on the connection that there is until another is tried, in milliseconds. */
const ANSWER_TIME = 500
/** How long either may take from then on, in milliseconds. The other side's system accepts a connection even while Mongrel2 stands still. */
const LOOK_TIME = 3000

/** Errors of the path. Others, such as too many open files, say nothing about it. */
const PATH_ERRORS: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
])

/**
 * Watches whether a Handler's recv_spec can be reached while messages come from its send_spec. A firewall that loses the packets of one
 * port is noticed by the publishing connection only after its silence, and until then answers would go nowhere.
 *
 * The path is good while Mongrel2 answers on a connection that there is, or a new one is accepted. It is lost when neither happens.
 */
export class PathWatch {
  readonly #spec: string
  readonly #publisher: LinkPublisher
  readonly #pause = new Pause()
  readonly #lost: Deferred<void> = deferred()
  #timer: NodeJS.Timeout | undefined
  #endLook: (() => void) | undefined
  #always = false
  #closed = false

  /** @param spec The publisher's. Over ipc there is no path that could be lost. */
  constructor(spec: string, publisher: LinkPublisher) {
    this.#spec = spec
    this.#publisher = publisher
    this.#closed = !spec.startsWith('tcp://')
    // Some publishers need a connection of its own for this, which is best made while all is well.
    if (!this.#closed) publisher.answer().catch(() => {})
  }

  /** Resolves when the path is lost. */
  get lost(): Promise<void> {
    return this.#lost.promise
  }

  /** A message came. */
  used(): void {
    this.#lookIn(INTERVAL)
  }

  /** Looks at once, and again until it is closed, whether messages come or not. */
  always(): void {
    this.#always = true
    this.#lookIn(0)
  }

  /** Resolves when the path is there again, or the watch is closed. */
  async found(): Promise<void> {
    while (!this.#closed) {
      const reachable = await this.#isReachable()
      // It may have been closed meanwhile, which ends no pause that begins now.
      if (reachable || this.#closed) return
      await this.#pause.wait(INTERVAL)
    }
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#endLook?.()
    this.#pause.end()
  }

  #lookIn(milliseconds: number): void {
    if (this.#timer !== undefined || this.#closed) return
    this.#timer = setTimeout(() => void this.#lookOnce(), milliseconds).unref()
  }

  async #lookOnce(): Promise<void> {
    const reachable = await this.#isReachable()
    this.#timer = undefined
    if (this.#closed) return
    if (!reachable) this.#lost.resolve()
    else if (this.#always) this.used()
  }

  /** Asks the connection that there is, and tries a new one when it does not answer soon. */
  #isReachable(): Promise<boolean> {
    return new Promise((resolve) => {
      let socket: Socket | undefined
      const end = (reachable: boolean) => {
        clearTimeout(timer)
        socket?.destroy()
        this.#endLook = undefined
        resolve(reachable)
      }
      let timer = setTimeout(() => {
        // What came while this process stood still is read before the time is up.
        timer = setTimeout(() => setImmediate(end, false), LOOK_TIME)
        socket = connect(addressOf(this.#spec))
        socket.once('connect', () => end(true))
        // Where a new connection is refused, the one that there is may still answer.
        socket.once('error', ({ code = '' }: NodeJS.ErrnoException) => {
          if (!PATH_ERRORS.has(code)) end(true)
        })
      }, ANSWER_TIME)
      this.#endLook = () => end(false)
      this.#publisher.answer().then(
        () => end(true),
        () => {}, // it never will
      )
    })
  }
}
