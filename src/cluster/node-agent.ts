import { availableParallelism } from 'node:os'
import type { Dealer } from 'zeromq'
import { Mongrel2Error } from '../runtime/errors.ts'
import { ownVersion } from '../runtime/process/versions.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import { WorkerChild, workerStart } from '../workers/dispatcher/worker-child.ts'
import { renderJson } from '../workers/protocol/frames.ts'
import { appSourceOf } from './node-app.ts'
import {
  type Control,
  MOST_PROCESSORS,
  NodeConnection,
  type NodeConnectionObserver,
  type NodeStart,
} from './node-connection.ts'
import type { JoinSettings } from './options.ts'

/** Time for workers to end after losing the connection, in milliseconds. */
const CUT_TIME = 3000
/** Time for the main node to close the connection of a node that leaves, in milliseconds. */
const FAREWELL = 1000

/** One connection of a node to its main node: starts workers as the main node orders, and passes on frames. */
export class NodeAgent implements NodeConnectionObserver {
  readonly #joined: Deferred<void> = deferred()
  /** Resolves when the node has joined; rejects with the reason if it is refused. */
  readonly joined: Promise<void> = this.#joined.promise
  /** Resolves with the reason when the connection has ended and every worker is gone. */
  readonly ended: Promise<string>
  readonly #settings: JoinSettings
  readonly #connection: NodeConnection
  readonly #workers = new Map<number, WorkerChild>()
  #outgoing = new Map<number, Buffer[]>()
  #leaving = false
  #empty: Deferred<void> | undefined

  /** @param socket Not connected yet. */
  constructor(socket: Dealer, settings: JoinSettings) {
    this.#settings = settings
    this.#connection = new NodeConnection(socket, 'the main node', settings.logger, this)
    const processors = Math.min(availableParallelism(), MOST_PROCESSORS)
    const seesUploads = settings.chroot !== undefined
    this.#connection.opened.then(
      () => this.#connection.sendControl({ kind: 'join', version: ownVersion(), processors, seesUploads }),
      (error: Error) => this.#connection.close(error.message),
    )
    this.ended = this.#connection.closed.then((reason) => this.#cutOff(reason))
  }

  /** Lets the workers finish open requests within a time in milliseconds, and end. */
  async leave(timeout: number): Promise<void> {
    this.#leaving = true
    this.#connection.sendControl({ kind: 'leave' })
    const late = setTimeout(() => this.#connection.close('it left'), timeout)
    await this.#none()
    clearTimeout(late)
    const unclosed = setTimeout(() => this.#connection.close('it left'), FAREWELL)
    await this.ended
    clearTimeout(unclosed)
  }

  /** Ends the connection at once. */
  abandon(reason: string): void {
    this.#connection.close(reason)
  }

  receiveControl(control: Control): void {
    switch (control.kind) {
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

  #start(number: number, { app, options, ...rest }: NodeStart): void {
    if (this.#leaving) return this.#end(number, 'its node leaves', false)
    const { chroot, execArgv } = this.#settings
    const config = { app: appSourceOf(app), options: withOwnChroot(options, chroot), ...rest, remote: true }
    const worker = new WorkerChild(workerStart(config, execArgv), {
      receive: (frame) => this.#pass(number, frame),
      ended: (how, clean) => this.#end(number, how, clean),
    })
    this.#workers.set(number, worker)
    this.#connection.sendControl({ kind: 'started', worker: number, pid: worker.pid })
  }

  /** Passes on the frames of one turn together. */
  #pass(number: number, frame: Buffer): void {
    if (this.#outgoing.size === 0) queueMicrotask(() => this.#passOn())
    const frames = this.#outgoing.get(number)
    if (frames === undefined) this.#outgoing.set(number, [frame])
    else frames.push(frame)
  }

  #passOn(): void {
    const outgoing = this.#outgoing
    this.#outgoing = new Map()
    for (const [number, frames] of outgoing) this.#connection.send(number, frames)
  }

  #end(number: number, how: string, clean: boolean): void {
    this.#passOn()
    this.#workers.delete(number)
    this.#connection.sendControl({ kind: 'ended', worker: number, how, clean })
    if (this.#workers.size === 0) this.#empty?.resolve()
  }

  /** Lets the workers close open connections: the main node answers in their place. */
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

/** Replaces every `chroot`, since the main node must not choose a directory here; without one, stored bodies are not found. */
function withOwnChroot(options: NodeStart['options'], chroot = '/nonexistent'): NodeStart['options'] {
  const zeromq = [options.zeromq].flat().map((endpoint) => {
    if (typeof endpoint === 'string') return endpoint
    const { chroot: _theirs, ...rest } = endpoint
    return rest
  })
  return { ...options, zeromq, chroot }
}
