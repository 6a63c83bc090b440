import type { ReadonlyNumberMap } from '../runtime/number-map.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import type { Connection } from './connection.ts'
import type { KeepAlive } from './keep-alive.ts'
import type { Turn } from './turn.ts'

/** Closes an epoch when the server closes, in steps, some of which wait for clients, handlers or Mongrel2. */
export class EpochClosing {
  /** Whether sockets and endless responses have to end. */
  leaving = false
  /** Whether notices still come. Without pulling, Mongrel2 cannot send a notice and then reads no reply. */
  pulling = true
  readonly #connections: ReadonlyNumberMap<Connection>
  readonly #turn: Turn
  readonly #keepAlive: KeepAlive
  readonly #refuseRequests: () => void
  #lost = false
  #drained: Deferred<void> | undefined
  #inputDrained: Deferred<void> | undefined

  /** @param refuseRequests Makes new requests be refused. */
  constructor(
    connections: ReadonlyNumberMap<Connection>,
    turn: Turn,
    keepAlive: KeepAlive,
    refuseRequests: () => void,
  ) {
    this.#connections = connections
    this.#turn = turn
    this.#keepAlive = keepAlive
    this.#refuseRequests = refuseRequests
  }

  /** Closes the sockets, accepts no new ones, and ends endless responses; resolves when the sockets' clients have answered. */
  async goAway(): Promise<void> {
    this.leaving = true
    await Promise.all(Array.from(this.#connections.values(), (connection) => connection.goAway()))
  }

  /** Resolves when open requests need no more messages of Mongrel2, credits or parts of bodies; refuses new ones until then. */
  async inputDrained(): Promise<void> {
    if (this.#lost || !this.#some('needsMessages')) return
    this.#refuseRequests()
    // Finds connections that Mongrel2 has ended without a notice, as after a client's reset during a write.
    this.#keepAlive.hurry()
    this.#inputDrained ??= deferred()
    await this.#inputDrained.promise
  }

  /** Pulling has stopped: refuses uploads whose end will not come, and closes sockets whose clients have not answered. */
  stopPulling(): void {
    this.leaving = true
    this.pulling = false
    for (const connection of this.#connections.values()) {
      const { upload } = connection
      upload?.stop()
      // A streamed upload decides how its connection is closed.
      if (upload?.streamed === false) connection.forgetUpload()
      connection.frames?.end()
    }
  }

  /** Resolves when everything is published, or Mongrel2 is gone. */
  async drained(): Promise<void> {
    this.#turn.flush()
    if (this.#lost || !this.#some('unfinished')) return
    this.#drained ??= deferred()
    await this.#drained.promise
  }

  /** Closes the connections that this process has not answered in full. */
  cutBusy(): void {
    for (const connection of this.#connections.values()) {
      if (connection.unfinished) connection.cut()
      else connection.cancelDeferralTimer()
    }
    this.#turn.flush()
  }

  cutAll(): void {
    for (const connection of this.#connections.values()) connection.cut()
    this.#turn.flush()
  }

  /** A connection is gone, perhaps the last to wait for. */
  connectionGone(): void {
    if (this.#inputDrained !== undefined || this.#drained !== undefined) this.#turn.schedule()
  }

  /** The output of the turn is published. */
  flushed(): void {
    if (this.#drained !== undefined && !this.#some('unfinished')) this.#drained.resolve()
    if (this.#inputDrained !== undefined && !this.#some('needsMessages')) this.#inputDrained.resolve()
  }

  /** Mongrel2 is gone. */
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
