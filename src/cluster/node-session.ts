import type { Dealer } from 'zeromq'
import type { Logger } from '../runtime/log.ts'
import { ownVersion } from '../runtime/process/versions.ts'
import type { WorkerPool } from '../workers/dispatcher/worker-pool.ts'
import { type Order, renderJson } from '../workers/protocol/frames.ts'
import type { WorkerHandle, WorkerHandleObserver, WorkerHost } from '../workers/protocol/worker-handle.ts'
import { type Control, NodeConnection, type NodeConnectionObserver, type NodeStart } from './node-connection.ts'

/** Time for a node to join, in milliseconds. */
const JOIN_TIME = 3000
/** Time for a refused node to read why, in milliseconds. */
const REFUSAL_TIME = 1000

/** The dispatcher that a node joins, and how it starts workers. */
interface NodeSessionSettings {
  readonly pool: Pick<WorkerPool, 'addHost' | 'retireHost' | 'removeHost'>
  readonly start: NodeStart
  /** Endpoints that nodes answer to. */
  readonly endpoints: number
  /** The largest `maxMessageSize` of the endpoints, in bytes. */
  readonly maxMessageSize: number
  /** Workers on each node; undefined for one for each of its processors. */
  readonly workers: number | undefined
  readonly logger: Logger
}

/** A connected node, as the main node sees it: a host of workers. */
export class NodeSession implements WorkerHost, NodeConnectionObserver {
  readonly name: string
  readonly connection: NodeConnection
  readonly #settings: NodeSessionSettings
  readonly #workers = new Map<number, NodeWorker>()
  seesUploads = false
  readonly endpoints: number
  #count = 0
  #state: 'new' | 'opened' | 'refused' | 'joined' | 'leaving' = 'new'

  constructor(socket: Dealer, name: string, settings: NodeSessionSettings) {
    this.name = name
    this.#settings = settings
    this.endpoints = settings.endpoints
    this.connection = new NodeConnection(socket, `node ${name}`, settings.logger, this)
    this.connection.opened.then(
      () => this.#opened(),
      () => {}, // the listener has logged why it was refused
    )
    void this.connection.closed.then((reason) => this.#lost(reason))
  }

  start(observer: WorkerHandleObserver): WorkerHandle {
    const number = ++this.#count
    const worker = new NodeWorker(number, this.connection, observer)
    this.#workers.set(number, worker)
    this.connection.sendControl({ kind: 'start', worker: number, start: this.#settings.start })
    return worker
  }

  receiveControl(control: Control): void {
    switch (control.kind) {
      case 'join':
        return this.#join(control)
      case 'started': {
        const worker = this.#workers.get(control.worker)
        if (worker !== undefined) worker.pid = control.pid
        return
      }
      case 'ended': {
        const worker = this.#workers.get(control.worker)
        this.#workers.delete(control.worker)
        worker?.observer.ended(control.how, control.clean)
        if (this.#state === 'leaving' && this.#workers.size === 0) this.connection.close('it left')
        return
      }
      case 'leave':
        return this.#leave()
      default:
    }
  }

  receive(number: number, frames: readonly Buffer[], skipped: number): void {
    this.#workers.get(number)?.receive(frames, skipped)
  }

  #join({ version, processors, seesUploads }: Control & { kind: 'join' }): void {
    if (this.#state !== 'new' && this.#state !== 'opened') return
    if (version !== ownVersion()) {
      this.#state = 'refused'
      const reason = `it runs mongrel2-fetch ${version}, and the main node ${ownVersion()}: install the same version on both`
      this.#settings.logger.warn?.(`mongrel2-fetch refused node ${this.name}: ${reason}`)
      this.connection.sendControl({ kind: 'refuse', reason })
      setTimeout(() => this.connection.close('it was refused'), REFUSAL_TIME).unref()
      return
    }
    this.#state = 'joined'
    this.seesUploads = seesUploads
    this.#settings.logger.info?.(`mongrel2-fetch: node ${this.name} joined`)
    const { maxMessageSize, workers = processors, pool } = this.#settings
    this.connection.allowMessages(maxMessageSize)
    this.connection.sendControl({ kind: 'welcome', maxMessageSize })
    void pool.addHost(this, workers)
  }

  #leave(): void {
    if (this.#state !== 'joined') return
    this.#state = 'leaving'
    this.#settings.logger.info?.(`mongrel2-fetch: node ${this.name} leaves`)
    this.#settings.pool.retireHost(this)
    if (this.#workers.size === 0) this.connection.close('it left')
  }

  #opened(): void {
    if (this.#state === 'new') this.#state = 'opened'
    setTimeout(() => {
      if (this.#state === 'opened') this.connection.close('it did not join in time')
    }, JOIN_TIME).unref()
  }

  #lost(reason: string): void {
    if (this.#state === 'new' || this.#state === 'refused') return
    const { logger, pool } = this.#settings
    if (this.#state === 'opened') return logger.warn?.(`mongrel2-fetch: node ${this.name} did not join: ${reason}`)
    const left = this.#state === 'leaving' && this.#workers.size === 0
    if (left) logger.info?.(`mongrel2-fetch: node ${this.name} left`)
    else logger.error?.(`mongrel2-fetch lost node ${this.name}: ${reason}`)
    pool.removeHost(this)
    for (const { observer } of this.#workers.values()) observer.ended('its node was lost', false)
    this.#workers.clear()
  }
}

/** A worker process on a node. */
class NodeWorker implements WorkerHandle {
  pid = 0
  readonly observer: WorkerHandleObserver
  readonly #number: number
  readonly #connection: NodeConnection
  #reports = 0

  constructor(number: number, connection: NodeConnection, observer: WorkerHandleObserver) {
    this.#number = number
    this.#connection = connection
    this.observer = observer
  }

  send(frames: readonly Buffer[]): void {
    this.#connection.send(this.#number, frames)
  }

  expectEnd(): void {
    this.#connection.sendControl({ kind: 'expectEnd', worker: this.#number })
  }

  kill(): void {
    this.#connection.sendControl({ kind: 'kill', worker: this.#number })
  }

  /** Takes reports and confirms them: unconfirmed ones may be lost with the connection. */
  receive(frames: readonly Buffer[], skipped: number): void {
    for (const frame of frames) this.observer.receive(frame)
    this.#reports += frames.length + skipped
    const order: Order = { order: 'confirm', frames: this.#reports }
    this.#connection.send(this.#number, [renderJson(order)])
  }
}
