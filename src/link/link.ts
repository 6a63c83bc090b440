import type { EndpointSettings } from '../options/endpoint.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { describeError, type Logger } from '../runtime/log.ts'
import { Backoff, delay, Pause } from '../runtime/promises.ts'
import { MalformedError } from '../wire/malformed.ts'
import { closePublisher } from './close-publisher.ts'
import { PathWatch } from './path-watch.ts'
import { socketIdOf } from './socket-id.ts'
import type { LinkPublisher, LinkSource, Publisher, Transport } from './transport.ts'

/** One life of a Mongrel2 as its link sees it. */
export interface LinkEpoch {
  /** A message came. Must not throw. */
  receive(message: Buffer): void
  /** That Mongrel2 is gone, and with it every connection it had. */
  lost(): void
  /** Resolves when messages can be dealt with; none is pulled before. Without it they can at once. */
  readonly willing?: Promise<void>
}

/** What a link has to know of its endpoint. */
type LinkSettings = Pick<EndpointSettings, 'sendSpec' | 'recvSpec' | 'maxMessageSize'>

/** Whether an epoch is of the same life of Mongrel2 as the one before: its numbers of connections then mean the same clients. */
export type Succession = 'same' | 'unknown' | 'other'

/**
 * Begins an epoch, before its first message.
 *
 * @param prefix What Mongrel2 subscribed to, its `recv_ident`: no reply arrives whose SENDER begins otherwise.
 * @param socketId The name of the epoch for others on this machine, if it has one (`socketIdOf`).
 */
export type BeginEpoch = (
  publisher: Publisher,
  prefix: string,
  socketId: string | undefined,
  succession: Succession,
) => LinkEpoch

/** Waits between attempts, in milliseconds: the first after a loss is quick, since a restart takes less than a second. */
const RETRY = [50, 1000] as const
/** How long one attempt may take, in milliseconds; libzmq says nothing about a host name it cannot resolve, and nobody of a silent network. */
const ATTEMPT_TIMEOUT = 10_000
/**
 * How long a Mongrel2 that we are connected to may take to subscribe, in milliseconds, until the link pulls from it without a subscription:
 * Mongrel2 does nothing else while it cannot send a notice (of a reply to a client that was gone) because no handler pulls.
 */
const SUBSCRIPTION_PATIENCE = 1000
/** When the log says that nobody is there, in milliseconds. */
const PATIENCE = 2000

/**
 * A link: the pulling and the publishing socket to one Mongrel2 Handler, made anew for each of its lives.
 * It promises that nothing is dealt with before replies can be delivered, that none is dropped while that Mongrel2 lives, and that
 * none meant for one life reaches the next.
 */
export class Link {
  readonly #endpoint: LinkSettings
  readonly #transport: Transport
  readonly #identity: string
  readonly #logger: Logger
  readonly #begin: BeginEpoch
  #publisher: LinkPublisher | undefined
  #source: LinkSource | undefined
  /** The way to the publisher's recv_spec. */
  #path: PathWatch | undefined
  #stopping = false
  readonly #pause = new Pause()
  #found = false
  #impatient: NodeJS.Timeout | undefined
  /** The name of the epoch before, when there was one. */
  #before: { readonly socketId: string | undefined } | undefined

  /** What was said last: a peer that is none is tried again every second. */
  #reported = ''

  readonly #report = (error: unknown): void => {
    const reason =
      error instanceof MalformedError || error instanceof Mongrel2Error ? error.message : describeError(error)
    if (reason !== this.#reported) {
      this.#logger.error?.(`mongrel2-fetch: a socket to ${this.#specs} failed: ${reason}`)
    }
    this.#reported = reason
  }

  constructor(endpoint: LinkSettings, transport: Transport, identity: string, logger: Logger, begin: BeginEpoch) {
    this.#endpoint = endpoint
    this.#transport = transport
    this.#identity = identity
    this.#logger = logger
    this.#begin = begin
  }

  /**
   * Connects, and again whenever Mongrel2 comes back, until the link is stopped.
   *
   * @param ready Called once, when messages can come for the first time.
   */
  async run(ready: () => void): Promise<void> {
    this.#beImpatient()
    const backoff = new Backoff(...RETRY)
    const found = () => {
      clearTimeout(this.#impatient)
      this.#found = true
      backoff.reset()
      this.#reported = ''
      ready()
    }
    while (!this.#stopping) {
      await this.#live(found)
      if (this.#stopping) break
      await this.#pause.wait(backoff.next())
    }
    clearTimeout(this.#impatient)
  }

  /** Reads what has arrived and disconnects from new messages; replies can still be published. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#pause.end()
    if (this.#source === undefined) this.#publisher?.close()
    else await this.#source.stop()
  }

  /** Delivers what was published and closes; resolves when the publishing connection is gone. */
  async close(): Promise<void> {
    if (this.#publisher !== undefined && this.#path !== undefined) await closePublisher(this.#publisher, this.#path)
    this.#source?.close()
  }

  /** One life: from the first socket to the loss of one of them. Failures are all the same here: there is nobody yet. */
  async #live(ready: () => void): Promise<void> {
    const { recvSpec } = this.#endpoint
    const before = socketIdOf(recvSpec)
    const publisher = this.#transport.createPublisher(recvSpec, this.#identity, this.#report)
    this.#publisher = publisher
    let epoch: LinkEpoch | undefined
    /** What comes before it can be dealt with. */
    let early: Buffer[] | undefined = []
    let path = new PathWatch(recvSpec, publisher)
    this.#path = path
    const receive = (message: Buffer) => {
      path.used()
      if (early === undefined) epoch?.receive(message)
      else early.push(message)
    }
    try {
      await within(publisher.connected, ATTEMPT_TIMEOUT)
      const prefix = await this.#subscription(publisher, receive)
      const found = socketIdOf(recvSpec)
      // Where there were two, it cannot be told which of them we are connected to.
      const socketId = before === undefined || found === before ? found : undefined
      const begun = this.#begin(publisher, prefix, socketId, this.#successionOf(socketId))
      epoch = begun
      this.#before = { socketId }
      if (begun.willing !== undefined) await this.#awaitWill(begun.willing, publisher)
      for (const message of early.splice(0)) begun.receive(message)
      early = undefined
      let gone = false
      void publisher.closed.then(() => {
        gone = true
      })
      while (await this.#pull(publisher, path, receive, ready)) {
        await Promise.race([publisher.closed, path.found()])
        path.close()
        if (gone) break
        path = new PathWatch(recvSpec, publisher)
        this.#path = path
        if (this.#stopping) break
        this.#source = undefined
      }
      if (this.#stopping) await publisher.closed
      else
        this.#logger.warn?.(
          `mongrel2-fetch lost Mongrel2 at ${this.#specs}: its requests are aborted, waiting for the next`,
        )
    } catch (error) {
      this.#logger.debug?.(`mongrel2-fetch found no Mongrel2 at ${this.#specs}: ${error}`)
    } finally {
      path.close()
      this.#source?.close()
      this.#source = undefined
      publisher.close()
      epoch?.lost()
    }
  }

  /**
   * Pulls until a connection ends or the path of replies is lost.
   *
   * @param ready Called when messages can come.
   * @returns Whether the path was lost. Then nothing is pulled any more, and Mongrel2 keeps its requests or deals them to others.
   */
  async #pull(
    publisher: LinkPublisher,
    path: PathWatch,
    receive: (message: Buffer) => void,
    ready: () => void,
  ): Promise<boolean> {
    const source = this.#source ?? this.#openSource(receive)
    // When this process stood still, that Mongrel2 may be gone, and the source be connected to the next: its requests are not for here.
    await within(Promise.race([source.opened, publisher.closed.then(failClosed)]), ATTEMPT_TIMEOUT)
    ready()
    const ended = Promise.race([publisher.closed, source.closed]).then(() => false)
    if (!(await Promise.race([ended, path.lost.then(() => true)])) || this.#stopping) return false
    this.#logger.warn?.(`mongrel2-fetch cannot reach ${this.#endpoint.recvSpec}: it pulls no requests until it can`)
    await source.stop()
    return true
  }

  /** A connection ends when Mongrel2 does, but also by silence on the way: where the epoch has no name, it may be the same. */
  #successionOf(socketId: string | undefined): Succession {
    if (this.#before === undefined) return 'other'
    if (socketId === undefined || this.#before.socketId === undefined) return 'unknown'
    return socketId === this.#before.socketId ? 'same' : 'other'
  }

  /**
   * Resolves with the prefix that Mongrel2 subscribes to.
   *
   * @param receive Takes what has to be pulled before, if that is the only way to a subscription.
   */
  async #subscription(publisher: LinkPublisher, receive: (message: Buffer) => void): Promise<string> {
    let pulled = false
    let source: LinkSource | undefined
    const rescue = setTimeout(() => {
      source = this.#openSource((message) => {
        pulled = true
        receive(message)
      })
    }, SUBSCRIPTION_PATIENCE)
    try {
      return await within(publisher.opened, ATTEMPT_TIMEOUT)
    } catch (error) {
      // What was pulled can be answered as long as both connections last; a new attempt would drop it.
      if (!pulled || source === undefined) throw error
      return await Promise.race([publisher.opened, source.closed.then(failClosed)])
    } finally {
      clearTimeout(rescue)
    }
  }

  #openSource(receive: (message: Buffer) => void): LinkSource {
    const { sendSpec, maxMessageSize } = this.#endpoint
    const source = this.#transport.createSource(sendSpec, this.#identity, receive, this.#report, maxMessageSize)
    source.opened.catch(() => {}) // seen by who waits for it, if anybody does yet
    this.#source = source
    return source
  }

  /** Mongrel2 is there: whoever deals with its messages is waited for. */
  async #awaitWill(willing: Promise<void>, publisher: LinkPublisher): Promise<void> {
    clearTimeout(this.#impatient)
    await Promise.race([willing, publisher.closed.then(failClosed)])
    this.#beImpatient()
  }

  #beImpatient(): void {
    if (this.#found) return
    this.#impatient = setTimeout(() => this.#logger.warn?.(this.#nobodyThere()), PATIENCE).unref()
  }

  get #specs(): string {
    return `${this.#endpoint.sendSpec},${this.#endpoint.recvSpec}`
  }

  #nobodyThere(): string {
    return (
      `mongrel2-fetch waits for Mongrel2 at ${this.#specs}: ` +
      'is it running, and are these the send_spec and the recv_spec of its Handler, in this order?'
    )
  }
}

function failClosed(): never {
  throw new Mongrel2Error('closed', 'the connection ended')
}

/** Rejects when a promise has not settled after so many milliseconds. */
async function within<T>(promise: Promise<T>, milliseconds: number): Promise<T> {
  const late = delay(milliseconds).then(() => {
    throw new Mongrel2Error('timeout', `no answer within ${milliseconds} ms`)
  })
  return await Promise.race([promise, late])
}
