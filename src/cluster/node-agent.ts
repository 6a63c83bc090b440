import type { Dealer } from 'zeromq'
import { Mongrel2Error } from '../runtime/errors.ts'
import { type Logger, ThrottledWarning } from '../runtime/log.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import { ChildWorker } from '../workers/dispatcher/child-worker.ts'
import type { ExchangePoint } from '../workers/dispatcher/exchange-point.ts'
import { renderJson } from '../workers/protocol/frames.ts'
import { appSourceOf } from './node-app.ts'
import {
  type Control,
  NodeConnection,
  type NodeConnectionObserver,
  type NodeStart,
  skippedTopicMessage,
} from './node-connection.ts'

/** How much longer than its own time a worker that was cut off may take to end, in milliseconds. */
const CUT_TIME = 3000
/** How long the main node may take to see off a node that leaves, in milliseconds. */
const FAREWELL = 1000

/** What a node is, and starts its workers with. */
export interface NodeAgentSettings {
  readonly version: string
  readonly processors: number
  /** Mongrel2's chroot as seen from here; undefined where it is not. */
  readonly chroot: string | undefined
  readonly execArgv: readonly string[]
  readonly logger: Logger
}

/** One stay of a node with its main node: starts workers as it is told to, and passes on what is said. */
export class NodeAgent implements NodeConnectionObserver {
  /** Resolves when it has joined; rejects, with the reason, when it is not let in. */
  readonly joined: Promise<void>
  /** Resolves, with the reason, when the main node is gone and with it every worker. */
  readonly ended: Promise<string>
  readonly #settings: NodeAgentSettings
  readonly #point: ExchangePoint
  readonly #connection: NodeConnection
  readonly #joined: Deferred<void> = deferred()
  readonly #workers = new Map<number, ChildWorker>()
  #said = new Map<number, Buffer[]>()
  readonly #warning: ThrottledWarning
  #leaving = false
  #empty: Deferred<void> | undefined

  /** @param socket About to be connected to the main node. */
  constructor(socket: Dealer, settings: NodeAgentSettings, point: ExchangePoint) {
    this.#settings = settings
    this.#point = point
    this.#warning = new ThrottledWarning(settings.logger)
    this.#connection = new NodeConnection(socket, this)
    this.joined = this.#joined.promise
    const { version, processors, chroot } = settings
    this.#connection.opened.then(
      () => this.#connection.say({ say: 'join', version, processors, seesUploads: chroot !== undefined }),
      (error: Error) => this.#connection.close(error.message),
    )
    this.ended = this.#connection.closed.then((reason) => this.#cutOff(reason))
  }

  /** Lets the workers finish what is open and end, within so many milliseconds. */
  async leave(timeout: number): Promise<void> {
    this.#leaving = true
    this.#connection.say({ say: 'leave' })
    const late = setTimeout(() => this.#connection.close('it left'), timeout)
    await this.#none()
    clearTimeout(late)
    const seenOff = setTimeout(() => this.#connection.close('it left'), FAREWELL)
    await this.ended
    clearTimeout(seenOff)
  }

  /** Ends the stay at once. */
  abandon(reason: string): void {
    this.#connection.close(reason)
  }

  hear(control: Control): void {
    switch (control.say) {
      case 'welcome':
        this.#connection.allowMessages(control.maxMessageSize)
        return this.#joined.resolve()
      case 'refuse':
        return this.#connection.close(control.reason)
      case 'start':
        return this.#start(control.worker, control.start)
      case 'expectEnd':
        return this.#workers.get(control.worker)?.expectEnd()
      case 'kill':
        return this.#workers.get(control.worker)?.kill()
      default:
    }
  }

  receive(number: number, frames: readonly Buffer[]): void {
    this.#workers.get(number)?.send(frames)
  }

  skip(size: number, most: number): void {
    this.#warning.say(() => skippedTopicMessage('the main node', size, most))
  }

  #start(number: number, { app, options, ...rest }: NodeStart): void {
    if (this.#leaving) return this.#end(number, 'its node leaves', false)
    const { chroot, execArgv } = this.#settings
    const start = {
      app: appSourceOf(app),
      options: withOwnChroot(options, chroot),
      ...rest,
      remote: true,
    }
    const worker = new ChildWorker(start, execArgv, this.#point, {
      receive: (frame) => this.#pass(number, frame),
      ended: (how, clean) => this.#end(number, how, clean),
    })
    this.#workers.set(number, worker)
    this.#connection.say({ say: 'started', worker: number, pid: worker.pid })
  }

  /** What a worker says in one go is passed on in one. */
  #pass(number: number, frame: Buffer): void {
    if (this.#said.size === 0) queueMicrotask(() => this.#passOn())
    const frames = this.#said.get(number)
    if (frames === undefined) this.#said.set(number, [frame])
    else frames.push(frame)
  }

  #passOn(): void {
    const said = this.#said
    this.#said = new Map()
    for (const [number, frames] of said) this.#connection.send(number, frames)
  }

  #end(number: number, how: string, clean: boolean): void {
    this.#passOn()
    this.#workers.delete(number)
    this.#connection.say({ say: 'ended', worker: number, how, clean })
    if (this.#workers.size === 0) this.#empty?.resolve()
  }

  /** Nobody deals any more, and what is open has been given up: the workers end it, without an answer. */
  async #cutOff(reason: string): Promise<string> {
    this.#joined.reject(new Mongrel2Error('closed', reason))
    for (const worker of this.#workers.values()) worker.send([renderJson({ order: 'cut' })])
    const late = setTimeout(() => {
      for (const worker of this.#workers.values()) worker.kill()
    }, CUT_TIME)
    await this.#none()
    clearTimeout(late)
    return reason
  }

  async #none(): Promise<void> {
    if (this.#workers.size === 0) return
    this.#empty ??= deferred()
    await this.#empty.promise
  }
}

/** Where stored bodies are looked for on a node that has no `chroot`: nowhere, since the main node does not choose a directory here. */
const NO_CHROOT = '/nonexistent'

function withOwnChroot(options: NodeStart['options'], chroot = NO_CHROOT): NodeStart['options'] {
  const zeromq = [options.zeromq].flat().map((endpoint) => {
    if (typeof endpoint === 'string') return endpoint
    const { chroot: _theirs, ...rest } = endpoint
    return rest
  })
  return { ...options, zeromq, chroot }
}
