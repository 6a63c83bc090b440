import { Dealer } from 'zeromq'
import { checkCloseOptions } from '../options/option.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { describeError } from '../runtime/log.ts'
import { Backoff, type Deferred, deferred, Pause, whenAborted } from '../runtime/promises.ts'
import { curveKey } from './key-pair.ts'
import { NodeAgent } from './node-agent.ts'
import { checkJoinOptions, type JoinOptions, type JoinSettings } from './options.ts'
import { type CurveOptions, STREAM_OPTIONS } from './secure-stream.ts'

/** Waits between attempts to join, in milliseconds. */
const RETRY = [100, 3000] as const

/** A node of a cluster: this machine. */
export interface ClusterNode extends AsyncDisposable {
  /** Resolves when the node has joined for the first time; rejects with a `Mongrel2Error` `closed` if it is closed first. */
  readonly ready: Promise<void>
  /**
   * Leaves the cluster: lets its workers answer open requests and end, then disconnects. A second call returns the first one's promise.
   *
   * @param options.timeout Milliseconds after which open connections are closed. Default: 10,000.
   */
  close(options?: { timeout?: number }): Promise<void>
}

/**
 * Joins the dispatcher of a main node, which decides how many workers to run, with which app and options. Joins again after losing the
 * connection, until it is closed.
 *
 * @throws Mongrel2Error `invalid_option` if an option is wrong.
 */
export function joinCluster(options: JoinOptions): ClusterNode {
  return new Node(checkJoinOptions(options))
}

class Node implements ClusterNode {
  readonly #ready: Deferred<void> = deferred()
  readonly ready: Promise<void> = this.#ready.promise
  readonly #settings: JoinSettings
  readonly #running: Promise<void>
  #agent: NodeAgent | undefined
  #closed: Promise<void> | undefined
  readonly #pause = new Pause()
  /** The last logged line about a failed attempt. */
  #reported = ''

  constructor(settings: JoinSettings) {
    const { signal, logger } = settings
    this.#settings = settings
    this.#running = this.#run()
    whenAborted(signal, () => {
      this.close().catch((error: unknown) => logger.error?.(`mongrel2-fetch: leaving failed: ${describeError(error)}`))
    })
  }

  close(options?: { timeout?: number }): Promise<void> {
    const timeout = checkCloseOptions(options)
    this.#closed ??= this.#close(timeout)
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(timeout: number): Promise<void> {
    this.#ready.reject(new Mongrel2Error('closed', 'the node was closed before it had joined'))
    this.#pause.end()
    await this.#agent?.leave(timeout)
    await this.#running
  }

  async #run(): Promise<void> {
    const { logger } = this.#settings
    const backoff = new Backoff(...RETRY)
    while (this.#closed === undefined) {
      const agent = this.#connect()
      this.#agent = agent
      let joined = false
      try {
        await agent.joined
        joined = true
        backoff.reset()
        this.#reported = ''
        logger.info?.(`mongrel2-fetch joined the main node at ${this.#settings.address.spec}`)
        this.#ready.resolve()
      } catch {
        // `ended` gives the reason.
      }
      const reason = await agent.ended
      this.#agent = undefined
      if (this.#closed !== undefined) return
      this.#report(joined ? 'lost' : 'cannot join', reason)
      await this.#pause.wait(backoff.next())
    }
  }

  #connect(): NodeAgent {
    const socket = new Dealer({ ...STREAM_OPTIONS, ...this.#options() })
    const agent = new NodeAgent(socket, this.#settings)
    try {
      socket.connect(this.#settings.address.spec)
    } catch (error) {
      agent.abandon(String(error))
    }
    return agent
  }

  #options(): CurveOptions {
    const ipv6 = this.#settings.address.spec.startsWith('tcp://[')
    if (this.#settings.security === undefined) return { ipv6 }
    const { keys, main } = this.#settings.security
    return {
      ipv6,
      curveServerKey: curveKey(main),
      curvePublicKey: curveKey(keys.publicKey),
      curveSecretKey: curveKey(keys.secretKey),
    }
  }

  /** Logs why an attempt failed, unless the reason is that of the previous attempt. */
  #report(what: string, reason: string): void {
    const line = `${what} the main node at ${this.#settings.address.spec}: ${reason}`
    if (line !== this.#reported) this.#settings.logger.warn?.(`mongrel2-fetch ${line}; it tries again`)
    this.#reported = line
  }
}
