import { type Deferred, deferred } from '../runtime/promises.ts'
import type { Connection } from './connection.ts'
import type { KeepAlive } from './keep-alive.ts'
import type { Turn } from './turn.ts'

/** The end of an epoch by our will: the steps of closing the server, of which some wait for clients, handlers or Mongrel2. */
export class EpochClosing {
  readonly #connections: ReadonlyMap<number, Connection>
  readonly #turn: Turn
  readonly #keepAlive: KeepAlive
  readonly #refuseRequests: () => void
  #leaving = false
  #pulling = true
  #lost = false
  #drained: Deferred<void> | undefined
  #inputDrained: Deferred<void> | undefined

  /** @param refuseRequests Makes every request from now on be refused. */
  constructor(
    connections: ReadonlyMap<number, Connection>,
    turn: Turn,
    keepAlive: KeepAlive,
    refuseRequests: () => void,
  ) {
    this.#connections = connections
    this.#turn = turn
    this.#keepAlive = keepAlive
    this.#refuseRequests = refuseRequests
  }

  /** Whether what has no end has to end: sockets, event streams. */
  get leaving(): boolean {
    return this.#leaving
  }

  /** Whether notices still come. Mongrel2 reads no reply while it cannot send a notice because nothing pulls. */
  get pulling(): boolean {
    return this.#pulling
  }

  /** Closes the sockets, opens no more, and ends what has no end; resolves when the sockets' clients have answered. */
  async goAway(): Promise<void> {
    this.#leaving = true
    await Promise.all(Array.from(this.#connections.values(), (connection) => connection.goAway()))
  }

  /**
   * Resolves when nothing more has to come from Mongrel2 for what is open to be finished: no credits for answers, no parts of bodies. Until
   * then requests are refused.
   */
  async inputDrained(): Promise<void> {
    if (this.#lost || !this.#some('needsMessages')) return
    this.#refuseRequests()
    // Finds the connections that Mongrel2 has ended without a notice (a client's reset during a write).
    this.#keepAlive.hurry()
    this.#inputDrained ??= deferred()
    await this.#inputDrained.promise
  }

  /** Nothing is pulled any more: refuses the uploads whose end will not come, and closes the sockets whose clients have not answered. */
  stopPulling(): void {
    this.#leaving = true
    this.#pulling = false
    for (const connection of this.#connections.values()) {
      const { upload } = connection
      upload?.stop()
      // A streamed upload decides how its connection is closed.
      if (upload?.streamed === false) connection.forgetUpload()
      connection.frames?.end()
    }
  }

  /** Resolves when everything there was to say has been published, or Mongrel2 is gone. */
  async drained(): Promise<void> {
    this.#turn.flush()
    if (this.#lost || !this.#some('unfinished')) return
    this.#drained ??= deferred()
    await this.#drained.promise
  }

  /** Closes the connections that still wait for an answer from here, or for the rest of one. */
  cutBusy(): void {
    for (const connection of this.#connections.values()) {
      if (connection.unfinished) connection.cut()
      else connection.cancelDeferralTimer()
    }
    this.#turn.flush()
  }

  /** Closes every connection. */
  cutAll(): void {
    for (const connection of this.#connections.values()) connection.cut()
    this.#turn.flush()
  }

  /** A connection is gone: it may be the last that is waited for. */
  connectionGone(): void {
    if (this.#inputDrained !== undefined || this.#drained !== undefined) this.#turn.schedule()
  }

  /** Everything that connections had to say was published. */
  flushed(): void {
    if (this.#drained !== undefined && !this.#some('unfinished')) this.#drained.resolve()
    if (this.#inputDrained !== undefined && !this.#some('needsMessages')) this.#inputDrained.resolve()
  }

  /** That Mongrel2 is gone. */
  lost(): void {
    this.#lost = true
    this.#drained?.resolve()
    this.#inputDrained?.resolve()
  }

  #some(state: 'unfinished' | 'needsMessages'): boolean {
    for (const connection of this.#connections.values()) if (connection[state]) return true
    return false
  }
}
