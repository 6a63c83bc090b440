import { describeError, type Logger } from '../runtime/log.ts'
import { Backoff, Pause } from '../runtime/promises.ts'
import { closePublisher, PathWatch } from './path-watch.ts'
import type { LinkPublisher, Transport } from './transport.ts'

/** First and longest wait between attempts, in milliseconds. */
const RETRY = [20, 1000] as const

/** The publishing half of a link alone, reopened until it is ended: for processes that answer messages pulled by another one. */
export class ReconnectingPublisher {
  readonly #recvSpec: string
  readonly #open: () => LinkPublisher
  readonly #logger: Logger
  readonly #changed: (attached: boolean) => void
  #publisher: LinkPublisher | undefined
  #ended = false
  readonly #pause = new Pause()

  /** @param changed Called when replies can be delivered, and when they no longer can. */
  constructor(
    transport: Transport,
    recvSpec: string,
    identity: string,
    logger: Logger,
    changed: (attached: boolean) => void,
  ) {
    const report = (error: unknown) =>
      logger.error?.(`mongrel2-fetch: a socket to ${recvSpec} failed: ${describeError(error)}`)
    this.#recvSpec = recvSpec
    this.#open = () => transport.createPublisher(recvSpec, identity, report)
    this.#logger = logger
    this.#changed = changed
    void this.#run()
  }

  get publisher(): LinkPublisher | undefined {
    return this.#publisher
  }

  /** Closes at once: that Mongrel2 is gone. */
  end(): void {
    this.#ended = true
    this.#pause.end()
    this.#publisher?.close()
  }

  /** Delivers published replies and closes. */
  async close(): Promise<void> {
    this.#ended = true
    this.#pause.end()
    const publisher = this.#publisher
    if (publisher !== undefined) await closePublisher(publisher, new PathWatch(this.#recvSpec, publisher))
  }

  async #run(): Promise<void> {
    const backoff = new Backoff(...RETRY)
    while (!this.#ended) {
      const publisher = this.#open()
      this.#publisher = publisher
      try {
        await publisher.opened
        this.#changed(true)
        backoff.reset()
        await publisher.closed
        if (!this.#ended) this.#changed(false)
      } catch (error) {
        this.#logger.debug?.(`mongrel2-fetch does not reach Mongrel2 at its recv_spec: ${error}`)
      }
      publisher.close()
      if (!this.#ended) await this.#pause.wait(backoff.next())
    }
  }
}
