import { Worker } from 'node:worker_threads'
import type { ControlPortAddress } from '../../link/control-port.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { ownModule } from '../../runtime/process/own-modules.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import type { WorkerConfig } from './worker-config.ts'
import type { Uplink } from './worker-server.ts'

/** Bytes whose memory is transferred to another thread. */
export type OwnBytes = Uint8Array<ArrayBuffer>

/** What the main thread of a worker process sends to a handler thread. */
export type ToThread =
  /** Frames of the dispatcher's. */
  | { readonly frames: readonly OwnBytes[] }
  /** The system has taken so many bytes that were published to an epoch. */
  | { readonly taken: number; readonly epoch: number }
  /** The control port's answer to a question; undefined if it gave none. */
  | { readonly question: number; readonly written: ReadonlyMap<number, number> | undefined }

/** A question to an epoch's control port. */
interface ControlPortQuestion {
  readonly question: number
  readonly epoch: number
  readonly address: ControlPortAddress
}

/** A `ReportedPublication` with each reply in one piece. */
interface ThreadPublication {
  readonly before: OwnBytes | undefined
  readonly publication: { readonly epoch: number; readonly replies: readonly OwnBytes[] } | undefined
  readonly after: OwnBytes | undefined
}

/** What a handler thread sends to the main thread. */
export type FromThread =
  | { readonly loaded: true }
  | { readonly failed: string }
  | { readonly stopped: true }
  /** A frame for the dispatcher. */
  | { readonly frame: OwnBytes }
  | ThreadPublication
  | ControlPortQuestion

/** A handler thread beside the main thread, as the main thread reaches it. */
export class ThreadHandle {
  readonly #stopped: Deferred<void> = deferred()
  readonly #loaded: Deferred<void> = deferred()
  /** Resolves when the app is loaded; rejects if it cannot be. */
  readonly loaded: Promise<void> = this.#loaded.promise
  /** Resolves when the thread has stopped as ordered, or is gone. */
  readonly stopped: Promise<void> = this.#stopped.promise
  readonly #thread: Worker
  readonly #uplink: Uplink
  #frames: Buffer[] = []
  #gone = false

  /** @param ended Called when the thread is gone. */
  constructor(config: WorkerConfig, thread: number, uplink: Uplink, ended: (error: unknown) => void) {
    this.#uplink = uplink
    this.#thread = new Worker(ownModule('workers/worker/thread-main'), { workerData: { config, thread } })
    let failure: unknown
    this.#thread.on('message', (message: FromThread) => this.#take(message))
    this.#thread.on('error', (error) => {
      failure = error
    })
    this.#thread.on('exit', (code) => {
      this.#gone = true
      failure ??= new Mongrel2Error('closed', `the thread ended with code ${code}`)
      this.#loaded.reject(failure)
      this.#stopped.resolve()
      ended(failure)
    })
  }

  /** Takes a frame of the dispatcher's. The frames of one read go to the thread together. */
  receive(frame: Buffer): void {
    if (this.#frames.length === 0) queueMicrotask(() => this.#pass())
    this.#frames.push(frame)
  }

  #pass(): void {
    const frames = this.#frames.map((frame) => new Uint8Array(frame))
    this.#frames = []
    const memory = frames.map(({ buffer }) => buffer)
    this.#send({ frames }, memory)
  }

  #send(message: ToThread, memory: ArrayBuffer[] = []): void {
    this.#thread.postMessage(message, memory)
  }

  #take(message: FromThread): void {
    // The dispatcher ends the connections of a thread that is gone.
    if (this.#gone) return
    if ('frame' in message) this.#uplink.send(bufferOf(message.frame))
    else if ('before' in message) this.#publish(message)
    else if ('question' in message) void this.#ask(message)
    else if ('loaded' in message) this.#loaded.resolve()
    else if ('failed' in message) this.#loaded.reject(new Mongrel2Error('load_failed', message.failed))
    else this.#stopped.resolve()
  }

  #publish({ before, publication, after }: ThreadPublication): void {
    this.#uplink.publish({
      before: before && bufferOf(before),
      publication: publication && { epoch: publication.epoch, replies: publication.replies.map(bufferOf) },
      after: after && bufferOf(after),
    })
    if (publication === undefined) return
    const { epoch, replies } = publication
    void this.#uplink.drained(epoch).then(() => this.#send({ taken: sizeOf(replies), epoch }))
  }

  async #ask({ question, epoch, address }: ControlPortQuestion): Promise<void> {
    const feedback = this.#uplink.feedback(epoch, address)
    const written = await feedback.bytesWritten().catch(() => undefined)
    this.#send({ question, written })
  }
}

/** Makes a Buffer without copying. */
export function bufferOf({ buffer, byteOffset, length }: OwnBytes): Buffer {
  return Buffer.from(buffer, byteOffset, length)
}

/** The bytes of all replies. */
export function sizeOf(replies: readonly Uint8Array[]): number {
  return replies.reduce((sum, { length }) => sum + length, 0)
}
