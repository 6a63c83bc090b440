import { Worker } from 'node:worker_threads'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { moduleBeside } from '../../runtime/module-beside.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { type DealtHead, type Order, parseNews } from '../protocol/frames.ts'
import type { WorkerConfig } from './config.ts'
import type { Uplink } from './core.ts'
import type { ControlPortQuestion, FromThread, ThreadEmission, ToThread } from './thread-messages.ts'

/** A slot in a thread of its own, as the main thread sees it. */
export class ThreadSlot {
  /** Resolves when the app is loaded; rejects when it cannot be. */
  readonly loaded: Promise<void>
  readonly #thread: Worker
  readonly #uplink: Uplink
  readonly #loaded: Deferred<void> = deferred()
  readonly #stopped: Deferred<void> = deferred()
  #gone = false

  /** @param ended Told when the thread is gone. */
  constructor(config: WorkerConfig, slot: number, uplink: Uplink, ended: (error: unknown) => void) {
    this.loaded = this.#loaded.promise
    this.#uplink = uplink
    this.#thread = new Worker(moduleBeside(import.meta.url, './thread-process'), {
      workerData: { config, slot },
    })
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

  take(head: DealtHead, message: Buffer): void {
    const own = new Uint8Array(message)
    this.#say({ head, message: own }, [own.buffer])
  }

  takeTopicMessage(frame: Buffer): void {
    const own = new Uint8Array(frame)
    this.#say({ topic: own }, [own.buffer])
  }

  obey(order: Order): void {
    this.#say({ order })
  }

  lose(epoch: number): void {
    this.#say({ lost: epoch })
  }

  async stop(timeout: number): Promise<void> {
    this.#say({ stop: timeout })
    await this.#stopped.promise
  }

  #say(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#thread.postMessage(message, transfer)
  }

  #take(message: FromThread): void {
    // Once it was said to be gone, nothing of it may go out.
    if (this.#gone) return
    if ('loaded' in message) this.#loaded.resolve()
    else if ('failed' in message) this.#loaded.reject(new Mongrel2Error('load_failed', message.failed))
    else if ('news' in message) this.#uplink.tell(parseNews(Buffer.from(message.news)))
    else if ('topic' in message) this.#uplink.relay(bufferOf(message.topic))
    else if ('stopped' in message) this.#stopped.resolve()
    else if ('question' in message) void this.#ask(message)
    else this.#emit(message)
  }

  #emit({ before, publication, after }: ThreadEmission): void {
    this.#uplink.emit({
      before: before && bufferOf(before),
      publication: publication && { epoch: publication.epoch, replies: split(publication.bytes, publication.lengths) },
      after: after && bufferOf(after),
    })
    if (publication === undefined) return
    const { epoch, bytes } = publication
    void this.#uplink.drained(epoch).then(() => this.#say({ taken: bytes.length, epoch }))
  }

  async #ask({ question, epoch, address }: ControlPortQuestion): Promise<void> {
    const written = await this.#uplink
      .feedback(epoch, address)
      .bytesWritten()
      .catch(() => undefined)
    this.#say({ question, written })
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

function split(bytes: Uint8Array, lengths: readonly number[]): Buffer[] {
  const whole = bufferOf(bytes)
  let end = 0
  return lengths.map((length) => {
    end += length
    return whole.subarray(end - length, end)
  })
}
