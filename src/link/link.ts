import { publishLinkEvent } from '../operations/channels.ts'
import type { LinkState } from '../operations/server-state.ts'
import type { EndpointSettings } from '../options/endpoint.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { describeError, type Logger } from '../runtime/log.ts'
import { countGarbage } from '../runtime/process/young-collection.ts'
import { Backoff, delay, Pause } from '../runtime/promises.ts'
import { MalformedError } from '../wire/malformed.ts'
import { closePublisher, PathWatch } from './path-watch.ts'
import { socketIdOf } from './socket-id.ts'
import type { LinkPublisher, LinkSource, Publisher, Receive, Received, Transport } from './transport.ts'

/** The link's view of an epoch. */
export interface LinkEpoch {
  /** Called for each message. Must not throw. */
  receive(message: Received): void
  /** Called when that Mongrel2, and with it every connection, is gone. */
  lost(): void
  /** The link pulls no message until this resolves. Default: it pulls at once. */
  readonly acceptsMessages?: Promise<void>
}

/** The options of an endpoint that a link uses. */
type LinkSettings = Pick<EndpointSettings, 'sendSpec' | 'recvSpec' | 'maxMessageSize'>

/** Whether Mongrel2 is the same process as in the epoch before, so that the same connection ids mean the same clients. */
export type Succession = 'same' | 'unknown' | 'other'

/**
 * Begins an epoch, before its first message.
 *
 * @param prefix Mongrel2's subscription, its `recv_ident`: replies with another beginning of SENDER do not arrive.
 * @param socketId Identifies the epoch on this machine, if possible (`socketIdOf`).
 */
export type BeginEpoch = (
  publisher: Publisher,
  prefix: string,
  socketId: string | undefined,
  succession: Succession,
) => LinkEpoch

/** First and longest wait between attempts, in milliseconds: a restart of Mongrel2 takes less than a second. */
const RETRY = [50, 1000] as const
/** Milliseconds for one attempt: libzmq does not report a host name that it cannot resolve, and a silent network reports nothing. */
const ATTEMPT_TIMEOUT = 10_000
/**
 * Milliseconds until the link pulls from a connected Mongrel2 that has not subscribed: Mongrel2 blocks while it cannot send a notice
 * because no handler pulls.
 */
const SUBSCRIPTION_TIMEOUT = 1000
/** Milliseconds without Mongrel2 until a warning is logged. */
const WARN_AFTER = 2000

/**
 * A link: the pulling and the publishing socket to one Mongrel2 Handler, made anew for each epoch. No message is processed before
 * replies can be delivered, no reply is dropped while that Mongrel2 runs, and none reaches the next epoch.
 */
export class Link {
  readonly #endpoint: LinkSettings
  readonly #transport: Transport
  readonly #identity: string
  readonly #logger: Logger
  readonly #begin: BeginEpoch
  #publisher: LinkPublisher | undefined
  #source: LinkSource | undefined
  /** Watches the path to the publisher's recv_spec. */
  #path: PathWatch | undefined
  #attached = false
  #since = Date.now()
  #stopping = false
  readonly #pause = new Pause()
  #found = false
  #warnTimer: NodeJS.Timeout | undefined
  /** The epoch before. */
  #before: { readonly socketId: string | undefined } | undefined
  /** The last error in the log: attempts repeat every second. */
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

  get state(): LinkState {
    const { sendSpec, recvSpec } = this.#endpoint
    return { sendSpec, recvSpec, attached: this.#attached, since: this.#since }
  }

  /** Connects, and again whenever Mongrel2 comes back, until the link is stopped. Calls `ready` whenever messages can come. */
  async run(ready: () => void): Promise<void> {
    this.#startWarnTimer()
    const backoff = new Backoff(...RETRY)
    const found = () => {
      clearTimeout(this.#warnTimer)
      this.#found = true
      backoff.reset()
      this.#reported = ''
      this.#note(true)
      ready()
    }
    while (!this.#stopping) {
      await this.#runEpoch(found)
      this.#note(false)
      if (this.#stopping) break
      await this.#pause.wait(backoff.next())
    }
    clearTimeout(this.#warnTimer)
  }

  /** Reads what has arrived and stops pulling; replies can still be published. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#pause.end()
    if (this.#source === undefined) this.#publisher?.close()
    else await this.#source.stop()
  }

  /** Delivers published replies and closes; resolves when the publishing connection is closed. */
  async close(): Promise<void> {
    if (this.#publisher !== undefined && this.#path !== undefined) await closePublisher(this.#publisher, this.#path)
    this.#source?.close()
  }

  #note(attached: boolean): void {
    if (attached === this.#attached) return
    this.#attached = attached
    this.#since = Date.now()
    const { sendSpec, recvSpec } = this.#endpoint
    publishLinkEvent({ event: attached ? 'attached' : 'lost', sendSpec, recvSpec })
  }

  /** Runs from the first connection attempt until a connection is lost. Every failure means that there is no Mongrel2. */
  async #runEpoch(ready: () => void): Promise<void> {
    const { recvSpec } = this.#endpoint
    const before = socketIdOf(recvSpec)
    const publisher = this.#transport.createPublisher(recvSpec, this.#identity, this.#report)
    this.#publisher = publisher
    let epoch: LinkEpoch | undefined
    /** Messages that arrive before the epoch accepts them. */
    let early: Received[] | undefined = []
    let path = new PathWatch(recvSpec, publisher)
    this.#path = path
    const receive = (message: Received) => {
      path.used()
      if (Buffer.isBuffer(message)) countGarbage(message.length)
      if (early === undefined) epoch?.receive(message)
      else early.push(message)
    }
    try {
      await within(publisher.connected, ATTEMPT_TIMEOUT)
      const prefix = await this.#subscription(publisher, receive)
      const found = socketIdOf(recvSpec)
      // If it has changed meanwhile, it is unknown which of the two we are connected to: that is found out by connecting again.
      const changed = before !== undefined && found !== before
      if (changed && early.length === 0) throw new Error(`another Mongrel2 took over ${recvSpec} while we connected`)
      const socketId = changed ? undefined : found
      const begun = this.#begin(publisher, prefix, socketId, this.#successionOf(socketId))
      epoch = begun
      this.#before = { socketId }
      if (begun.acceptsMessages !== undefined) {
        clearTimeout(this.#warnTimer)
        await Promise.race([begun.acceptsMessages, publisher.closed.then(failClosed)])
        this.#startWarnTimer()
      }
      for (const message of early.splice(0)) begun.receive(message)
      early = undefined
      while (await this.#pull(publisher, path, receive, ready)) {
        const gone = await Promise.race([publisher.closed.then(() => true), path.found().then(() => false)])
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

  /** Pulls until a connection ends or the path is lost; returns whether it was the path. Calls `ready` when messages can come. */
  async #pull(publisher: LinkPublisher, path: PathWatch, receive: Receive, ready: () => void): Promise<boolean> {
    const source = this.#source ?? this.#openSource(receive)
    // If this process was suspended, the source may be connected to the next Mongrel2: its requests belong to the next epoch.
    await within(Promise.race([source.opened, publisher.closed.then(failClosed)]), ATTEMPT_TIMEOUT)
    ready()
    const ended = Promise.race([publisher.closed, source.closed]).then(() => false)
    if (!(await Promise.race([ended, path.lost.then(() => true)])) || this.#stopping) return false
    this.#note(false)
    this.#logger.warn?.(`mongrel2-fetch cannot reach ${this.#endpoint.recvSpec}: it pulls no requests until it can`)
    await source.stop()
    return true
  }

  /** A lost connection may be the network's fault: without socketIds, Mongrel2 may be the same. */
  #successionOf(socketId: string | undefined): Succession {
    if (this.#before === undefined) return 'other'
    if (socketId === undefined || this.#before.socketId === undefined) return 'unknown'
    return socketId === this.#before.socketId ? 'same' : 'other'
  }

  /** Resolves with the prefix that Mongrel2 subscribes to. `receive` gets messages that have to be pulled before it can subscribe. */
  async #subscription(publisher: LinkPublisher, receive: Receive): Promise<string> {
    let pulled = false
    let source: LinkSource | undefined
    const rescue = setTimeout(() => {
      source = this.#openSource((message) => {
        pulled = true
        receive(message)
      })
    }, SUBSCRIPTION_TIMEOUT)
    try {
      return await within(publisher.opened, ATTEMPT_TIMEOUT)
    } catch (error) {
      // Pulled messages can be answered while both connections last; a new attempt would drop them.
      if (!pulled || source === undefined) throw error
      return await Promise.race([publisher.opened, source.closed.then(failClosed)])
    } finally {
      clearTimeout(rescue)
    }
  }

  #openSource(receive: Receive): LinkSource {
    const { sendSpec, maxMessageSize } = this.#endpoint
    const source = this.#transport.createSource(sendSpec, this.#identity, receive, this.#report, maxMessageSize)
    source.opened.catch(() => {}) // `#pull` handles it, if it is waiting already
    this.#source = source
    return source
  }

  #startWarnTimer(): void {
    if (this.#found) return
    const question = 'is it running, and are these the send_spec and the recv_spec of its Handler, in this order?'
    const warn = () => this.#logger.warn?.(`mongrel2-fetch waits for Mongrel2 at ${this.#specs}: ${question}`)
    this.#warnTimer = setTimeout(warn, WARN_AFTER).unref()
  }

  get #specs(): string {
    return `${this.#endpoint.sendSpec},${this.#endpoint.recvSpec}`
  }
}

function failClosed(): never {
  throw new Mongrel2Error('closed', 'the connection ended')
}

/** Rejects when the promise takes longer. */
async function within<T>(promise: Promise<T>, milliseconds: number): Promise<T> {
  const late = delay(milliseconds).then(() => {
    throw new Mongrel2Error('timeout', `no answer within ${milliseconds} ms`)
  })
  return await Promise.race([promise, late])
}
