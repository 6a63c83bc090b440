import type { LeftConnections } from '../connection/closed-connections.ts'
import { type ConnectionObserver, Epoch } from '../connection/epoch.ts'
import type { FeedbackSource } from '../connection/pacing/feedback.ts'
import { addPacings, noPacings, type PacingCounts } from '../connection/pacing/pacing.ts'
import { type ControlPortAddress, controlPortOf } from '../link/control-port.ts'
import type { Publisher } from '../link/transport.ts'
import type { EndpointSettings } from '../options/endpoint.ts'
import { delay } from '../runtime/promises.ts'
import { Application, type Mongrel2Statistics } from './application.ts'
import { Intake } from './intake.ts'
import type { Settings } from './options.ts'

/** What an epoch begins with. */
export interface EpochStart {
  readonly publisher: Publisher
  /** What Mongrel2 subscribed to. */
  readonly prefix: string
  /** The name of the epoch for others on the same machine. */
  readonly socketId: string | undefined
  /** Whether others found out that Mongrel2 runs with `download.flow_control`. */
  readonly flowControl?: boolean
  /** What the epoch before has left open, unless that was another life of Mongrel2 for certain. */
  readonly left?: LeftConnections | undefined
  /** Told what becomes of the connections, where somebody else deals the messages. */
  readonly observer?: ConnectionObserver
  /** Makes what asks a control port. */
  feedback(address: ControlPortAddress): FeedbackSource
}

/**
 * A server without links: a handler, and the epochs whose messages it answers. `serveMongrel2` has one with links of its own, each handler
 * thread of a worker has one that the dispatcher deals messages to.
 *
 * @typeParam Key What an epoch is found by.
 */
export class AppServer<Key> {
  readonly application: Application
  readonly epochs: Map<Key, Epoch> = new Map()
  readonly #settings: Settings
  readonly #intakes: ReadonlyMap<EndpointSettings, Intake>

  constructor(settings: Settings) {
    this.#settings = settings
    this.application = new Application(settings)
    this.#intakes = new Map(
      settings.endpoints.map((endpoint) => [endpoint, new Intake({ ...settings, ...endpoint }, this.application)]),
    )
  }

  /** Begins an epoch of an endpoint; it takes the place of an earlier one with the same key. */
  begin(key: Key, endpoint: EndpointSettings, start: EpochStart): Epoch {
    const intake = this.#intakes.get(endpoint) as Intake
    const { counters, waitingBudget } = this.application
    const { publisher, prefix, socketId, left, observer } = start
    const address = controlPortOf(endpoint)
    const controlPort = address && start.feedback(address)
    const place = { recvSpec: endpoint.recvSpec, socketId }
    const flowControl = endpoint.flowControl || start.flowControl === true
    const settings = { ...this.#settings, prefix, flowControl, place, left }
    const epoch = new Epoch(publisher, settings, { intake, counters, waitingBudget, controlPort, observer })
    this.epochs.set(key, epoch)
    return epoch
  }

  /** Number of connections by pacing. */
  get pacing(): PacingCounts {
    const pacing = noPacings()
    for (const epoch of this.epochs.values()) addPacings(pacing, epoch.pacing)
    return pacing
  }

  /** The counts since the start. */
  stats(): Mongrel2Statistics {
    const { counters, inFlight } = this.application
    let connections = 0
    for (const epoch of this.epochs.values()) connections += epoch.connections
    return { ...counters, inFlight, connections, pacing: this.pacing }
  }

  /**
   * Closes the WebSockets with the code 1001, then waits until open requests need no more messages of Mongrel2.
   *
   * @param patience Milliseconds that the clients of WebSockets may take.
   * @param late Resolves when nothing is waited for any more.
   */
  async goAway(patience: number, late: Promise<void>): Promise<void> {
    const all = (wait: (epoch: Epoch) => Promise<void>) => Promise.all(Array.from(this.epochs.values(), wait))
    await Promise.race([all((epoch) => epoch.closing.goAway()), delay(patience)])
    await Promise.race([all((epoch) => epoch.closing.inputDrained()), late])
  }

  /**
   * Answers all requests that have come, once no more messages come.
   *
   * @param late Resolves when open requests are to be cut off.
   */
  async answerAll(late: Promise<void>): Promise<void> {
    const epochs = [...this.epochs.values()]
    for (const { closing } of epochs) closing.stopPulling()
    const answered = this.application.settled().then(() => Promise.all(epochs.map(({ closing }) => closing.drained())))
    await Promise.race([answered, late])
    for (const { closing } of epochs) closing.cutBusy()
  }
}
