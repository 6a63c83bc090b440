import type { LeftConnections } from '../connection/closed-connections.ts'
import { type ConnectionObserver, Epoch } from '../connection/epoch.ts'
import type { FeedbackSource } from '../connection/pacing/feedback.ts'
import { type ControlPortAddress, controlPortOf } from '../link/control-port.ts'
import type { Publisher } from '../link/transport.ts'
import { type Figures, noFigures, stateOf } from '../operations/figures.ts'
import type { RequestObserver } from '../operations/request-entry.ts'
import type { ConnectionState } from '../operations/server-state.ts'
import type { EndpointSettings } from '../options/endpoint.ts'
import { delay } from '../runtime/promises.ts'
import { topicMembers } from '../topic/topic.ts'
import { Application, type Mongrel2Statistics } from './application.ts'
import { Intake } from './intake.ts'
import type { Settings } from './options.ts'

interface EpochStart {
  readonly publisher: Publisher
  /** What Mongrel2 subscribed to, its `recv_ident`. */
  readonly prefix: string
  /** The name of the epoch for other processes on the same machine. */
  readonly socketId: string | undefined
  /** Whether another process found that Mongrel2 runs with `download.flow_control`. */
  readonly flowControl?: boolean
  /** Connections that the epoch before left open, unless it certainly was another Mongrel2. */
  readonly left?: LeftConnections | undefined
  /** Observes the connections, where a dispatcher deals the messages. */
  readonly observer?: ConnectionObserver
  /** Takes the entries of its requests. */
  readonly requests?: RequestObserver | undefined
  /** Makes a reader of a control port. */
  feedback(address: ControlPortAddress): FeedbackSource
}

/** A server without links: a handler, and the epochs, by `Key`, whose messages it answers. Their messages come from links or from a dispatcher. */
export class AppServer<Key> {
  readonly application: Application
  readonly epochs: Map<Key, Epoch> = new Map()
  readonly #settings: Settings

  constructor(settings: Settings) {
    this.#settings = settings
    this.application = new Application(settings)
  }

  /** Begins an epoch of an endpoint. It replaces an earlier one with the same key. */
  begin(key: Key, endpoint: EndpointSettings, start: EpochStart): Epoch {
    const { counters, waitingBudget } = this.application
    const { publisher, prefix, socketId, left, observer, requests } = start
    const intake = new Intake({ ...this.#settings, ...endpoint }, this.application, requests)
    const address = controlPortOf(endpoint)
    const controlPort = address && start.feedback(address)
    const place = { recvSpec: endpoint.recvSpec, socketId }
    const flowControl = endpoint.flowControl || start.flowControl === true
    const settings = { ...this.#settings, prefix, flowControl, place, left }
    const epoch = new Epoch(publisher, settings, { intake, counters, waitingBudget, controlPort, observer })
    this.epochs.set(key, epoch)
    return epoch
  }

  get figures(): Figures {
    const { messages, malformed, rejected, ignored } = this.application.counters
    const figures = { ...noFigures(), messages, malformed, rejected, ignored, topicMembers: topicMembers() }
    for (const { connections } of this.epochs.values()) {
      for (const { pacing, frames, upload } of connections.values()) {
        figures[pacing.mode]++
        if (frames !== undefined) figures[frames.takes === 'frame' ? 'webSockets' : 'messageSockets']++
        if (upload !== undefined) figures.uploads++
      }
    }
    return figures
  }

  /** The state of each connection. */
  connections(): ConnectionState[] {
    return [...this.epochs.values()].flatMap(({ connections, place: { recvSpec } }) =>
      Array.from(connections.values(), ({ id, busy, deferred }) => {
        const state = deferred ? 'deferred' : busy ? 'open' : 'idle'
        return { connection: id, recvSpec, state, worker: process.pid }
      }),
    )
  }

  /** @param links The links' states, and whether the server closes. */
  stats(links: Pick<Mongrel2Statistics, 'links' | 'closing'>): Mongrel2Statistics {
    const { counters, admission } = this.application
    const { inFlight, queued } = admission
    return { ...counters, ...stateOf(this.figures), inFlight, queued, ...links }
  }

  /**
   * Closes the WebSockets with the code 1001, whose clients may take `socketTime` milliseconds to answer, then waits until open requests need no
   * more messages of Mongrel2, or `late` resolves.
   */
  async goAway(socketTime: number, late: Promise<void>): Promise<void> {
    const all = (wait: (epoch: Epoch) => Promise<void>) => Promise.all(Array.from(this.epochs.values(), wait))
    await Promise.race([all((epoch) => epoch.closing.goAway()), delay(socketTime)])
    await Promise.race([all((epoch) => epoch.closing.inputDrained()), late])
  }

  /** Answers all requests that have come, after pulling has stopped. When `late` resolves, open ones are cut off. */
  async answerAll(late: Promise<void>): Promise<void> {
    const epochs = [...this.epochs.values()]
    for (const { closing } of epochs) closing.stopPulling()
    const answered = this.application.settled().then(() => Promise.all(epochs.map(({ closing }) => closing.drained())))
    await Promise.race([answered, late])
    for (const { closing } of epochs) closing.cutBusy()
  }
}
