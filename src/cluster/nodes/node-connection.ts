import type { Dealer } from 'zeromq'
import { type Deferred, deferred } from '../../deferred.ts'
import { Mongrel2Error } from '../../errors.ts'
import { type Frame, FrameParser, renderMultipart } from '../../wire/zmtp-frame.ts'
import type { WorkerStart } from '../child-worker.ts'
import type { NodeApp } from './node-app.ts'
import { SecureStream } from './secure-stream.ts'

/** How often each side gives a sign of life, in milliseconds. */
const BEAT = 250
/** Beats that the other side may be silent for: counted by the timer, so that what came while this process stood still is read before. */
const SILENT_BEATS = 8
/** The bytes of a worker's number. */
const ADDRESS = 4
/** The number that stands for the node itself. */
const NODE = 0

/** What a node and the main node say to each other, beside the frames of workers. */
export type Control =
  // The node:
  | {
      readonly say: 'join'
      /** This package's version: what is said between dispatcher and workers differs from one to the next. */
      readonly version: string
      readonly processors: number
      readonly seesUploads: boolean
    }
  | { readonly say: 'started'; readonly worker: number; readonly pid: number }
  | { readonly say: 'ended'; readonly worker: number; readonly how: string; readonly clean: boolean }
  /** Its workers are to finish what is open and to end. */
  | { readonly say: 'leave' }
  // The main node:
  | { readonly say: 'welcome' }
  | { readonly say: 'refuse'; readonly reason: string }
  | { readonly say: 'start'; readonly worker: number; readonly start: NodeStart }
  | { readonly say: 'expectEnd'; readonly worker: number }
  | { readonly say: 'kill'; readonly worker: number }

/** What a node starts a worker with. */
export type NodeStart = Omit<WorkerStart, 'app' | 'remote'> & { readonly app: NodeApp }

/** Told what the other side says. May throw at what it should not have said: that ends the connection. */
export interface NodeConnectionObserver {
  hear(control: Control): void
  /** Frames from or for a worker. */
  receive(worker: number, frames: readonly Buffer[]): void
}

/**
 * A node and the main node, connected. Each message begins with a worker's number, and its frames follow; the node itself has a number too,
 * and a message to it without more is a sign of life.
 */
export class NodeConnection {
  /** Resolves when the other side is authenticated; rejects with the reason when it never will be. */
  readonly opened: Promise<void>
  /** Resolves when it is over, with the reason. */
  readonly closed: Promise<string>
  readonly #stream: SecureStream
  readonly #closed: Deferred<string> = deferred()
  readonly #observer: NodeConnectionObserver
  readonly #frames = new FrameParser((frame) => this.#take(frame))
  readonly #beat: NodeJS.Timeout
  #parts: Buffer[] = []
  #silent = 0

  constructor(socket: Dealer, observer: NodeConnectionObserver) {
    this.#observer = observer
    this.#stream = new SecureStream(socket, (bytes) => this.#read(bytes))
    this.opened = this.#stream.opened
    this.closed = this.#closed.promise
    this.#beat = setInterval(() => this.#expectLife(), BEAT)
    void this.#stream.closed.then(() => this.close('the connection ended'))
  }

  /** Sends frames to or of a worker, together. */
  send(worker: number, frames: readonly Buffer[]): void {
    const address = Buffer.alloc(ADDRESS)
    address.writeUInt32LE(worker)
    this.#stream.write(renderMultipart([address, ...frames]))
  }

  say(control: Control): void {
    this.send(NODE, [Buffer.from(JSON.stringify(control))])
  }

  /** Ends it at once. */
  close(reason: string): void {
    clearInterval(this.#beat)
    this.#closed.resolve(reason)
    this.#stream.destroy()
  }

  #expectLife(): void {
    this.send(NODE, [])
    if (this.#silent++ >= SILENT_BEATS) this.close(`it gave no sign of life within ${SILENT_BEATS * BEAT} ms`)
  }

  #read(bytes: Buffer): void {
    this.#silent = 0
    try {
      this.#frames.push(bytes)
    } catch (error) {
      this.close(error instanceof Mongrel2Error ? error.message : `it said something wrong: ${error}`)
    }
  }

  #take({ body, more }: Frame): void {
    this.#parts.push(body)
    if (more) return
    const [address, ...frames] = this.#parts
    this.#parts = []
    const worker = address?.readUInt32LE() ?? NODE
    if (worker !== NODE) this.#observer.receive(worker, frames)
    else for (const frame of frames) this.#observer.hear(JSON.parse(frame.toString()))
  }
}
