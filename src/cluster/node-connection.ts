import type { Dealer } from 'zeromq'
import { isObject } from '../options/option-check.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { LOG_LEVELS } from '../runtime/log.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import { MalformedError } from '../wire/malformed.ts'
import { type Frame, FrameParser, renderMultipart } from '../wire/zmtp/frame.ts'
import type { WorkerStart } from '../workers/dispatcher/child-worker.ts'
import {
  bool,
  byte,
  count,
  type FieldCheck,
  type FrameFields,
  integer,
  object,
  parseFields,
  text,
  uint32,
} from '../workers/protocol/frame-fields.ts'
import type { NodeApp } from './node-app.ts'
import { SecureStream } from './secure-stream.ts'

/** How often each side gives a sign of life, in milliseconds. */
const BEAT = 250
/** Beats that the other side may be silent for: counted by the timer, so that what came while this process stood still is read before. */
const SILENT_BEATS = 8
/** Frames of one message that are collected before they are handed over, however many the other side sends. */
const MOST_COLLECTED = 256
/** Workers that one node may be asked to start. */
export const MOST_PROCESSORS = 1024
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

/** What `NodeStart` is made of. */
const nodeStart: FieldCheck = {
  expected: 'what a worker is started with',
  holds: (value) =>
    isObject(value) &&
    isObject(value.app) &&
    (value.app.from === 'directory' || value.app.from === 'package') &&
    text.holds(value.app.path) &&
    object.holds(value.options) &&
    byte.holds(value.threads) &&
    Array.isArray(value.logLevels) &&
    value.logLevels.every((level) => LOG_LEVELS.includes(level)),
}

const CONTROLS: FrameFields<Control, 'say'> = {
  join: { version: text, processors: integer(1, MOST_PROCESSORS), seesUploads: bool },
  started: { worker: uint32, pid: count },
  ended: { worker: uint32, how: text, clean: bool },
  leave: {},
  welcome: {},
  refuse: { reason: text },
  start: { worker: uint32, start: nodeStart },
  expectEnd: { worker: uint32 },
  kill: { worker: uint32 },
}

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
  /** Bytes of messages that have come. */
  bytesRead = 0
  readonly #stream: SecureStream
  readonly #closed: Deferred<string> = deferred()
  readonly #observer: NodeConnectionObserver
  readonly #frames = new FrameParser((frame) => this.#take(frame))
  readonly #beat: NodeJS.Timeout
  /** Whose frames come; undefined between two messages. */
  #address: number | undefined
  #collected: Buffer[] = []
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
    this.bytesRead += bytes.length
    try {
      this.#frames.push(bytes)
    } catch (error) {
      const known = error instanceof Mongrel2Error || error instanceof MalformedError
      this.close(`it said something wrong: ${known ? error.message : error}`)
    }
  }

  #take({ body, more }: Frame): void {
    if (this.#address === undefined) this.#address = addressIn(body)
    else if (this.#address === NODE) this.#observer.hear(parseFields(body, 'say', CONTROLS))
    else this.#collected.push(body)
    if (!more || this.#collected.length >= MOST_COLLECTED) this.#handOver(this.#address)
    if (!more) this.#address = undefined
  }

  #handOver(worker: number): void {
    const frames = this.#collected
    this.#collected = []
    if (frames.length > 0) this.#observer.receive(worker, frames)
  }
}

function addressIn(frame: Buffer): number {
  if (frame.length !== ADDRESS) throw new MalformedError(`expected a worker's number of 4 bytes, got ${frame.length}`)
  return frame.readUInt32LE()
}
