import type { Dealer } from 'zeromq'
import type { Mongrel2Options } from '../exchange/options.ts'
import * as is from '../options/option.ts'
import { isObject, Mongrel2Error } from '../runtime/errors.ts'
import { type Level, LOG_LEVELS, type Logger, ThrottledWarning } from '../runtime/log.ts'
import { countGarbage } from '../runtime/process/young-collection.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import { MalformedError } from '../wire/malformed.ts'
import { CUT_MESSAGE } from '../wire/message.ts'
import { type Frame, type FrameBounds, FrameParser, MAX_FRAME, MORE, renderMessages } from '../wire/zmtp/frame.ts'
import {
  bool,
  byte,
  count,
  type FrameOf,
  integer,
  parseFields,
  text,
  uint32,
} from '../workers/protocol/frame-fields.ts'
import { isTopicFrame } from '../workers/protocol/frames.ts'
import type { WorkerConfig } from '../workers/worker/worker-config.ts'
import type { NodeApp } from './node-app.ts'
import { SecureStream } from './secure-stream.ts'

/** How often each side sends a sign of life, in milliseconds. */
const BEAT = 250
/** Beats that the other side may be silent. A timer counts them, so this process reads first what came while it was paused. */
const SILENT_BEATS = 8
/** Frames that are collected until they are handed over. */
const MOST_COLLECTED = 256
/** Bytes of frames that are collected until they are handed over. */
const MOST_COLLECTED_BYTES = 1024 * 1024
/** The largest control frame, and the least bound for a worker's frame, in bytes. */
const MOST_CONTROL = 1024 * 1024
/** Workers that one node may be asked to start. */
export const MOST_PROCESSORS = 1024
/** Bytes of a worker's number. */
const ADDRESS = 4
/** The number of the node itself. */
const NODE = 0

/** The configuration of a worker on a node. */
export type NodeStart = Pick<WorkerConfig, 'options' | 'threads' | 'logLevels'> & { readonly app: NodeApp }

const required = { required: true } as const
const nodeStart: is.Option<NodeStart> = is.group('field of start', 'what a worker is started with', {
  app: is.group('field of app', 'an app', {
    from: is.oneOf(['directory', 'package'], 'directory', required),
    path: text,
    data: is.unchecked<unknown>(),
  }),
  options: is.option<Mongrel2Options>('an object', isObject, required),
  threads: byte,
  logLevels: is.option<readonly Level[]>(
    'a list of levels',
    (value) => Array.isArray(value) && value.every((level) => LOG_LEVELS.includes(level)),
    required,
  ),
})

const CONTROLS = {
  // The node:
  /** `version` is this package's: the frames differ between versions. */
  join: { version: text, processors: integer(1, MOST_PROCESSORS), seesUploads: bool },
  started: { worker: uint32, pid: count },
  ended: { worker: uint32, how: text, clean: bool },
  /** Asks to retire its workers. */
  leave: {},
  // The main node:
  /** @see NodeConnection.allowMessages */
  welcome: { maxMessageSize: integer(0, MAX_FRAME) },
  refuse: { reason: text },
  start: { worker: uint32, start: nodeStart },
  expectEnd: { worker: uint32 },
  kill: { worker: uint32 },
}

/** A control frame between a node and the main node. */
export type Control = FrameOf<typeof CONTROLS, 'kind'>

/** Takes what the other side sends. If it throws, the connection ends. */
export interface NodeConnectionObserver {
  receiveControl(control: Control): void
  /** Takes frames from or for a worker; `skipped` others were too long. */
  receive(worker: number, frames: readonly Buffer[], skipped: number): void
}

/**
 * The connection between a node and the main node. Each message begins with a worker's number, and its frames follow; the node itself is
 * number 0, and its message without frames is a sign of life.
 */
export class NodeConnection implements FrameBounds {
  readonly #closed: Deferred<string> = deferred()
  /** Resolves when the other side is authenticated; rejects with the reason if that fails. */
  readonly opened: Promise<void>
  /** Resolves with the reason when it has ended. */
  readonly closed: Promise<string> = this.#closed.promise
  /** Bytes of messages that have come. */
  bytesRead = 0
  readonly #stream: SecureStream
  readonly #peer: string
  readonly #warning: ThrottledWarning
  readonly #observer: NodeConnectionObserver
  readonly #frames = new FrameParser((frame) => this.#take(frame), this)
  readonly #beat: NodeJS.Timeout
  /** The worker of the present message; undefined between two messages. */
  #address: number | undefined
  #collected: Buffer[] = []
  #collectedBytes = 0
  #skipped = 0
  /** Bytes that a worker's frame may have. */
  #mostOfWorker = MOST_CONTROL
  #silent = 0

  /** @param peer The name of the other side in the log. */
  constructor(socket: Dealer, peer: string, logger: Logger, observer: NodeConnectionObserver) {
    this.#peer = peer
    this.#warning = new ThrottledWarning(logger)
    this.#observer = observer
    this.#stream = new SecureStream(socket, (bytes) => this.#read(bytes))
    this.opened = this.#stream.opened
    this.#beat = setInterval(() => this.#expectLife(), BEAT)
    void this.#stream.closed.then(() => this.close('the connection ended'))
  }

  /** Allows worker frames with messages up to `maxMessageSize`, the largest of the endpoints. It bounds messages of topics too. */
  allowMessages(maxMessageSize: number): void {
    this.#mostOfWorker = Math.max(MOST_CONTROL, maxMessageSize + CUT_MESSAGE)
  }

  /** Bytes that the next frame may have. */
  get maxFrame(): number {
    if (this.#address === undefined) return ADDRESS
    return this.#address === NODE ? MOST_CONTROL : this.#mostOfWorker
  }

  /** Keeps the first byte of a worker's frame that is too long: it tells the kind of frame. */
  get cutTo(): number | undefined {
    return this.#address === undefined || this.#address === NODE ? undefined : 1
  }

  /** Sends frames to or from a worker, in one message. */
  send(worker: number, frames: readonly Buffer[]): void {
    const address = Buffer.alloc(ADDRESS)
    address.writeUInt32LE(worker)
    this.#stream.write(renderMessages([address, ...frames], MORE))
  }

  sendControl(control: Control): void {
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
    this.bytesRead += bytes.length
    try {
      this.#frames.push(bytes)
    } catch (error) {
      const known = error instanceof Mongrel2Error || error instanceof MalformedError
      this.close(`it sent something wrong: ${known ? error.message : error}`)
    }
  }

  #take(frame: Frame): void {
    const { body, more } = frame
    countGarbage(body.length)
    if (this.#address === undefined) this.#address = addressIn(body)
    else if (this.#address === NODE) this.#observer.receiveControl(parseFields(body, 'kind', CONTROLS))
    else this.#collect(frame)
    const full = this.#collected.length >= MOST_COLLECTED || this.#collectedBytes >= MOST_COLLECTED_BYTES
    if (!more || full) this.#handOver(this.#address)
    if (!more) this.#address = undefined
  }

  /** Collects a frame; skips a topic's message that is too long, since topics have no bound of their own. */
  #collect({ body, size }: Frame): void {
    if (body.length === size) {
      this.#collected.push(body)
      this.#collectedBytes += size
    } else if (isTopicFrame(body)) {
      this.#skipped++
      this.#warning.say(
        () =>
          `mongrel2-fetch skipped a topic's message of ${size} bytes from ${this.#peer}: ` +
          `between machines it may have ${this.#mostOfWorker}, which maxMessageSize raises`,
      )
    } else {
      throw new MalformedError(
        `a worker's frame of ${size} bytes is larger than the ${this.#mostOfWorker} that one may have`,
      )
    }
  }

  #handOver(worker: number): void {
    const frames = this.#collected
    const skipped = this.#skipped
    this.#collected = []
    this.#collectedBytes = 0
    this.#skipped = 0
    if (frames.length + skipped > 0) this.#observer.receive(worker, frames, skipped)
  }
}

function addressIn(frame: Buffer): number {
  if (frame.length !== ADDRESS) throw new MalformedError(`expected a worker's number of 4 bytes, got ${frame.length}`)
  return frame.readUInt32LE()
}
