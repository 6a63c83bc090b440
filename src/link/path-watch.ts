import { connect } from 'node:net'
import { Pause } from '../runtime/promises.ts'
import { addressOf } from './zmtp/connection.ts'

/** The time between two looks at the path while messages come, and between two while it is lost, in milliseconds. */
const INTERVAL = 2000
/** How long the other side's system may take to accept a connection, in milliseconds: it does so even while Mongrel2 stands still. */
const ACCEPT_TIMEOUT = 3000

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
 */
export class PathWatch {
  /** Resolves when the path is lost. */
  readonly lost: Promise<void>
  readonly #spec: string
  readonly #pause = new Pause()
  #lose: () => void = () => {}
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /** @param spec Over ipc there is no path that could be lost. */
  constructor(spec: string) {
    this.#spec = spec
    this.#closed = !spec.startsWith('tcp://')
    this.lost = new Promise((resolve) => {
      this.#lose = resolve
    })
  }

  /** A message came. */
  used(): void {
    if (this.#timer !== undefined || this.#closed) return
    this.#timer = setTimeout(() => void this.#look(), INTERVAL).unref()
  }

  /** Resolves when the path is there again, or the watch is closed. */
  async found(): Promise<void> {
    while (!this.#closed) {
      const reachable = await isReachable(this.#spec)
      // It may have been closed meanwhile, which ends no pause that begins now.
      if (reachable || this.#closed) return
      await this.#pause.wait(INTERVAL)
    }
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#pause.end()
  }

  async #look(): Promise<void> {
    const reachable = await isReachable(this.#spec)
    this.#timer = undefined
    if (!reachable && !this.#closed) this.#lose()
  }
}

/** Whether a connection is accepted, as far as it can be told. */
function isReachable(spec: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(addressOf(spec))
    const end = (reachable: boolean) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(reachable)
    }
    // What came while this process stood still is read before the time is up.
    const timer = setTimeout(() => setImmediate(end, false), ACCEPT_TIMEOUT)
    socket.once('connect', () => end(true))
    socket.once('error', ({ code = '' }: NodeJS.ErrnoException) => end(!PATH_ERRORS.has(code)))
  })
}
