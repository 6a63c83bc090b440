import type { Dealer } from 'zeromq'
import { isObject, Mongrel2Error } from '../runtime/errors.ts'
import { LOG_LEVELS } from '../runtime/log.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import { MalformedError } from '../wire/malformed.ts'
import { CUT_MESSAGE } from '../wire/message.ts'
import { type Frame, type FrameBounds, FrameParser, MAX_FRAME, renderMultipart } from '../wire/zmtp/frame.ts'
import {
  bool,
  byte,
  count,
  type FieldCheck,
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

/** How often each side gives a sign of life, in milliseconds. */
const BEAT = 250
/** Beats that the other side may be silent for. The timer counts them, so what came while this process stood still is read before. */
const SILENT_BEATS = 8
/** Frames of one message that are collected before they are handed over, however many the other side sends. */
const MOST_COLLECTED = 256
/** Bytes that frames may have until they are handed over. */
const MOST_COLLECTED_BYTES = 1024 * 1024
/** Bytes that a control frame, or a worker's report, may have at least. */
const MOST_SAID = 1024 * 1024
/** Workers that one node may be asked to start. */
export const MOST_PROCESSORS = 1024
/** The bytes of a worker's number. */
const ADDRESS = 4
/** The number that stands for the node itself. */
const NODE = 0

/** What a node starts a worker with. */
export type NodeStart = Pick<WorkerConfig, 'options' | 'threads' | 'logLevels'> & { readonly app: NodeApp }

const nodeStart: FieldCheck<NodeStart> = {
  expected: 'what a worker is started with',
  holds: (value): value is NodeStart =>
    isObject(value) &&
    isObject(value.app) &&
    (value.app.from === 'directory' || value.app.from === 'package') &&
    text.holds(value.app.path) &&
    isObject(value.options) &&
    byte.holds(value.threads) &&
    Array.isArray(value.logLevels) &&
    value.logLevels.every((level) => LOG_LEVELS.includes(level)),
}

const CONTROLS = {
  // The node:
  /** `version` is this package's: what dispatcher and workers say to each other differs from one to the next. */
  join: { version: text, processors: integer(1, MOST_PROCESSORS), seesUploads: bool },
  started: { worker: uint32, pid: count },
  ended: { worker: uint32, how: text, clean: bool },
  /** Its workers are to finish what is open and to end. */
  leave: {},
  // The main node:
  /** @see NodeConnection.allowMessages */
  welcome: { maxMessageSize: integer(0, MAX_FRAME) },
  refuse: { reason: text },
  start: { worker: uint32, start: nodeStart },
  expectEnd: { worker: uint32 },
  kill: { worker: uint32 },
}

/** What a node and the main node say to each other, beside the frames of workers. */
export type Control = FrameOf<typeof CONTROLS, 'say'>

/** Takes what the other side says. When it throws, the connection ends. */
export interface NodeConnectionObserver {
  hear(control: Control): void
  /** Takes frames from or for a worker. `skipped` more came, which were too long. */
  receive(worker: number, frames: readonly Buffer[], skipped: number): void
  /** A message of a topic was too long. */
  skip(size: number, most: number): void
}

/**
 * A node and the main node, connected. Each message begins with a worker's number, and its frames follow; the node itself has a number too,
 * and a message to it without more is a sign of life.
 */
export class NodeConnection implements FrameBounds {
  /** Resolves when the other side is authenticated; rejects with the reason when it never will be. */
  readonly opened: Promise<void>
  /** Resolves when it is over, with the reason. */
  readonly closed: Promise<string>
  /** Bytes of messages that have come. */
  bytesRead = 0
  readonly #stream: SecureStream
  readonly #closed: Deferred<string> = deferred()
  readonly #observer: NodeConnectionObserver
  readonly #frames = new FrameParser((frame) => this.#take(frame), this)
  readonly #beat: NodeJS.Timeout
  /** Whose frames come; undefined between two messages. */
  #address: number | undefined
  #collected: Buffer[] = []
  #collectedBytes = 0
  #skipped = 0
  /** Bytes that a frame of a worker may have. */
  #mostOfWorker = MOST_SAID
  #silent = 0

  constructor(socket: Dealer, observer: NodeConnectionObserver) {
    this.#observer = observer
    this.#stream = new SecureStream(socket, (bytes) => this.#read(bytes))
    this.opened = this.#stream.opened
    this.closed = this.#closed.promise
    this.#beat = setInterval(() => this.#expectLife(), BEAT)
    void this.#stream.closed.then(() => this.close('the connection ended'))
  }

  /**
   * Allows messages that are dealt to workers.
   *
   * @param maxMessageSize The largest of the endpoints. Messages of topics may have no more, the rest is small.
   */
  allowMessages(maxMessageSize: number): void {
    this.#mostOfWorker = Math.max(MOST_SAID, maxMessageSize + CUT_MESSAGE)
  }

  /** Bytes that the next frame may have. */
  get maxFrame(): number {
    if (this.#address === undefined) return ADDRESS
    return this.#address === NODE ? MOST_SAID : this.#mostOfWorker
  }

  /** The first byte of a worker's frame that is too long is kept: it tells the kind of frame. */
  get cutTo(): number | undefined {
    return this.#address === undefined || this.#address === NODE ? undefined : 1
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
    this.bytesRead += bytes.length
    try {
      this.#frames.push(bytes)
    } catch (error) {
      const known = error instanceof Mongrel2Error || error instanceof MalformedError
      this.close(`it said something wrong: ${known ? error.message : error}`)
    }
  }

  #take(frame: Frame): void {
    const { body, more } = frame
    if (this.#address === undefined) this.#address = addressIn(body)
    else if (this.#address === NODE) this.#observer.hear(parseFields(body, 'say', CONTROLS))
    else this.#collect(frame)
    const full = this.#collected.length >= MOST_COLLECTED || this.#collectedBytes >= MOST_COLLECTED_BYTES
    if (!more || full) this.#handOver(this.#address)
    if (!more) this.#address = undefined
  }

  /** Messages of topics have no bound of their own, so one that is too long is not an error. */
  #collect({ body, size }: Frame): void {
    if (body.length === size) {
      this.#collected.push(body)
      this.#collectedBytes += size
    } else if (isTopicFrame(body)) {
      this.#skipped++
      this.#observer.skip(size, this.#mostOfWorker)
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

/** @param from The sender. */
export function skippedTopicMessage(from: string, size: number, most: number): string {
  return (
    `mongrel2-fetch skipped a topic's message of ${size} bytes from ${from}: ` +
    `between machines it may have ${most}, which maxMessageSize raises`
  )
}

function addressIn(frame: Buffer): number {
  if (frame.length !== ADDRESS) throw new MalformedError(`expected a worker's number of 4 bytes, got ${frame.length}`)
  return frame.readUInt32LE()
}
