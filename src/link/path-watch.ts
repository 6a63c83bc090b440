import { connect, type Socket } from 'node:net'
import { type Deferred, deferred, Pause } from '../runtime/promises.ts'
import type { LinkPublisher } from './transport.ts'
import { addressOf } from './zmtp/connection.ts'

/** Milliseconds between two checks of the path while messages come, and between two while it is lost. */
const INTERVAL = 2000
/** Milliseconds for an answer on the existing connection, before a new one is tried. */
const ANSWER_TIME = 500
/** Milliseconds for either from then on. The system accepts a connection even while Mongrel2 is suspended. */
const LOOK_TIME = 3000
/** Milliseconds in which replies may still be delivered after the end, if their delivery cannot be observed. */
const LINGER = 5000

/** Errors of the path. Others, such as too many open files, do not concern it. */
const PATH_ERRORS = new Set(['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT'])

/**
 * Watches whether a Handler's recv_spec can be reached while messages come from its send_spec. When a firewall drops the packets of one
 * port, the publishing connection notices only by its heartbeat, and answers would be lost until then. The path is good while Mongrel2
 * answers on the existing connection or a new one is accepted.
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

  /** @param spec The publisher's `recv_spec`. A path over ipc cannot be lost. */
  constructor(spec: string, publisher: LinkPublisher) {
    this.#spec = spec
    this.#publisher = publisher
    this.#closed = !spec.startsWith('tcp://')
    // Some publishers need another connection for this, which is best made now.
    if (!this.#closed) publisher.answer().catch(() => {})
  }

  /** Resolves when the path is lost. */
  get lost(): Promise<void> {
    return this.#lost.promise
  }

  /** Called for each message: schedules a check. */
  used(): void {
    this.#lookIn(INTERVAL)
  }

  /** Checks at once, and repeatedly until it is closed, even without messages. */
  always(): void {
    this.#always = true
    this.#lookIn(0)
  }

  /** Resolves when the path is good again, or the watch is closed. */
  async found(): Promise<void> {
    while (!this.#closed) {
      const reachable = await this.#isReachable()
      // `close` does not end a pause that begins after it.
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

  /** Asks on the existing connection, and tries a new one if no answer comes soon. */
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
        // `setImmediate`: bytes that arrived while this process was suspended are read first.
        timer = setTimeout(() => setImmediate(end, false), LOOK_TIME)
        socket = connect(addressOf(this.#spec))
        socket.once('connect', () => end(true))
        // If a new connection is refused, the existing one may still answer.
        socket.once('error', ({ code = '' }: NodeJS.ErrnoException) => {
          if (!PATH_ERRORS.has(code)) end(true)
        })
      }, ANSWER_TIME)
      this.#endLook = () => end(false)
      this.#publisher.answer().then(
        () => end(true),
        () => {}, // no answer will come
      )
    })
  }
}

/**
 * Delivers published replies and closes; resolves when the connection is closed. While the path is good, a slow Mongrel2 gets all the
 * time it needs. When it is lost, the system sends on what it has; otherwise `LINGER` applies.
 */
export async function closePublisher(publisher: LinkPublisher, path: PathWatch): Promise<void> {
  path.always()
  const lost = await Promise.race([path.lost.then(() => true), publisher.drained().then(() => false)])
  publisher.close(lost && publisher.handedOver ? 0 : LINGER)
  path.close()
  await publisher.closed
}
