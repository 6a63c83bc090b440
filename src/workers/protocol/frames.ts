import { SharedMessage } from '../../connection/shared-message.ts'
import { FIGURES, type Figures } from '../../operations/figures.ts'
import type { RequestEntry } from '../../operations/request-entry.ts'
import { CONNECTION_PHASES, type ConnectionState } from '../../operations/server-state.ts'
import * as is from '../../options/option.ts'
import { LINE_FEED, linesIn } from '../../runtime/lines.ts'
import { LOG_LEVELS } from '../../runtime/log.ts'
import { checkEventFields } from '../../topic/options.ts'
import type { EventFields } from '../../wire/http.ts'
import { MalformedError } from '../../wire/malformed.ts'
import { bool, byte, count, type FrameOf, parseFields, text, uint32 } from './frame-fields.ts'

// The frames between the dispatcher and a worker process. Messages and reports, the most frequent, are binary; the others are JSON. Every
// field is checked, since a worker may run on a machine that is not trusted.

/** The file descriptors of a worker's pipes: it reads the first and writes to the second. */
export const ORDERS_FD = 3
export const REPORTS_FD = 4

const DEALT = 0x4d
const REPORT = 0x52
const TOPIC = 0x54
const DEALT_HEAD = 11
const REPORT_HEAD = 22
const TOPIC_HEAD = 11
const RECORD = 10
/** An ended request, without its line. */
const ENDED = 36
const REPORTS = ['answering', 'idle', 'deferred', 'closed', 'forgotten'] as const

/** A handler thread's report of a connection; `idle` and `forgotten` apply to the messages that it had seen. */
export type ConnectionReport = (typeof REPORTS)[number]

const time = is.option<number>('a time in milliseconds', (value) => Number(value) >= 0 && typeof value === 'number', {
  required: true,
})

const ORDERS = {
  /** An epoch has begun: replies to it go to the link's endpoint. `socketId` is its name on this machine. */
  begin: { link: byte, epoch: uint32, prefix: text, socketId: is.text('a text', () => true), flowControl: bool },
  /** The epoch is over. */
  end: { link: byte, epoch: uint32 },
  flowControl: { link: byte, epoch: uint32 },
  /** Hand over a connection, unless something is open on it. */
  handOver: { thread: byte, link: byte, epoch: uint32, id: uint32 },
  /** Report `alive`, from each thread. */
  ping: {},
  /** Tell the connections, of a process that pulls itself. */
  connections: {},
  /** Forget idle connections as soon as possible. */
  retire: {},
  /** Close WebSockets, and finish within a time what needs messages: no more will come. */
  goAway: { timeout: time },
  /** The dispatcher, on another machine, has received a number of frames. */
  confirm: { frames: count },
  /** The dispatcher is lost and has given up the connections: close them without an answer, and end. */
  cut: {},
  /** Answer open requests within a time, and end. */
  stop: { timeout: time },
}

/** A connection of the process that tells it. */
type DirectConnection = Pick<ConnectionState, 'connection' | 'recvSpec' | 'state'>

const unwrittenBytes: is.Option<number | undefined> = is.count(undefined, [0, 0xffff_ffff])
const figures: is.Option<Figures> = is.group(
  'figures',
  'counts',
  Object.fromEntries(FIGURES.map((name) => [name, count])) as Record<keyof Figures, is.Option<number>>,
)

const connections = is.option<readonly DirectConnection[]>(
  'a list of connections',
  (value) =>
    Array.isArray(value) &&
    value.every(({ connection, recvSpec, state }: Record<string, unknown>) => {
      return Number.isInteger(connection) && typeof recvSpec === 'string' && CONNECTION_PHASES.includes(state as never)
    }),
  { required: true },
)

const NEWS = {
  /** The app is loaded in each thread. */
  loaded: {},
  /** A process that pulls itself serves the app. */
  serves: {},
  /** The app has loaded a file, to be watched. */
  file: { path: text },
  /** The app cannot be loaded, and the process shows why instead; in `mongrel2-fetch dev`. */
  broken: {},
  /** The app cannot be loaded, and the process ends. */
  failed: { reason: text },
  /** A line for the parent's logger. */
  line: { level: is.oneOf(LOG_LEVELS, 'info', { required: true }), line: text },
  /** The line of a request that is recorded. */
  record: { line: is.text('a line', (line) => /^[ -~]*$/.test(line), { required: true }) },
  /** Replies to an epoch can be delivered. */
  attached: { link: byte, epoch: uint32 },
  /** Replies to an epoch cannot be delivered any more. */
  detached: { link: byte, epoch: uint32 },
  flowControl: { link: byte, epoch: uint32 },
  /** `unwrittenBytes`: bytes that Mongrel2 has not written yet; undefined if the connection stays. */
  handedOver: { thread: byte, link: byte, epoch: uint32, id: uint32, unwrittenBytes },
  /** The process' resident set in bytes, and the thread's figures and longest delay of its event loop. */
  alive: { thread: byte, rss: count, figures, eventLoopDelay: time },
  /** The connections of a process that pulls itself. */
  connections: { connections },
  /** A thread has members of a named topic. */
  subscribed: { thread: byte, topic: text },
  /** A thread has no members of it any more. */
  unsubscribed: { thread: byte, topic: text },
  /** A thread needs no more messages. */
  inputDrained: { thread: byte },
  /** A thread is gone. */
  ended: { thread: byte },
  /** The process asks to be replaced. */
  leaving: { reason: text },
}

/** A frame from the dispatcher. Times are in milliseconds. */
export type Order = FrameOf<typeof ORDERS, 'order'>

/** A frame from a worker process. */
export type News = FrameOf<typeof NEWS, 'news'>

/** The head of a message, which is the next frame. */
export interface DealtHead {
  readonly thread: number
  readonly link: number
  readonly epoch: number
  /** Bytes of another thread on the connection that Mongrel2 has not written yet. */
  readonly unwrittenBytes: number
}

/** A report of one connection. */
export interface ReportRecord {
  readonly link: number
  readonly epoch: number
  readonly id: number
  readonly report: ConnectionReport
}

/** A thread's report of its connections, after it has seen a number of messages. */
export interface Report {
  readonly thread: number
  readonly seen: number
  readonly inFlight: number
  readonly records: readonly ReportRecord[]
  /** Requests whose responses end with the replies that follow this report, if requests are observed. */
  readonly ended: readonly EndedRequest[]
  /** Their lines for the request log; empty without one. */
  readonly lines: Buffer
}

/** A report as it is rendered: `lines` is text of one byte a character. */
export type ReportToSend = Omit<Report, 'lines'> & { readonly lines: string }

/** The figures of an observed request that has ended. */
export type EndedRequest = Pick<RequestEntry, 'status' | 'aborted' | 'bytes' | 'received' | 'duration'> &
  Omit<ReportRecord, 'report'>

export function renderDealtHead({ thread, link, epoch, unwrittenBytes }: DealtHead): Buffer {
  const frame = Buffer.allocUnsafe(DEALT_HEAD)
  frame[0] = DEALT
  frame[1] = thread
  frame[2] = link
  frame.writeUInt32LE(epoch, 3)
  frame.writeUInt32LE(unwrittenBytes, 7)
  return frame
}

export function isDealtHead(frame: Buffer): boolean {
  return frame[0] === DEALT
}

/** The thread that a binary frame comes from, or goes to. */
export function threadOf(frame: Buffer): number {
  return frame[1] as number
}

export function parseDealtHead(frame: Buffer): DealtHead {
  if (frame.length !== DEALT_HEAD) {
    throw new MalformedError(`expected a message's head of ${DEALT_HEAD} bytes, got ${frame.length}`)
  }
  return {
    thread: frame[1] as number,
    link: frame[2] as number,
    epoch: frame.readUInt32LE(3),
    unwrittenBytes: frame.readUInt32LE(7),
  }
}

export function renderReport({ thread, seen, inFlight, records, ended, lines }: ReportToSend): Buffer {
  const frame = Buffer.allocUnsafe(REPORT_HEAD + RECORD * records.length + ENDED * ended.length + lines.length)
  frame[0] = REPORT
  frame[1] = thread
  frame.writeDoubleLE(seen, 2)
  frame.writeUInt32LE(inFlight, 10)
  frame.writeUInt32LE(records.length, 14)
  frame.writeUInt32LE(ended.length, 18)
  let at = REPORT_HEAD
  for (const { link, epoch, id, report } of records) {
    frame[at] = REPORTS.indexOf(report)
    frame[at + 1] = link
    frame.writeUInt32LE(epoch, at + 2)
    frame.writeUInt32LE(id, at + 6)
    at += RECORD
  }
  if (ended.length > 0) {
    const view = viewOf(frame)
    for (const request of ended) {
      writeEnded(view, at, request)
      at += ENDED
    }
  }
  frame.write(lines, at, 'latin1')
  return frame
}

/** For ended requests, with three doubles each: by a Buffer's own calls they take more than twice as long. */
function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length)
}

function writeEnded(view: DataView, at: number, request: EndedRequest): void {
  const { link, epoch, id, status = 0, aborted, bytes, received, duration } = request
  view.setUint8(at, link)
  view.setUint8(at + 1, aborted ? 1 : 0)
  view.setUint16(at + 2, status, true)
  view.setUint32(at + 4, epoch, true)
  view.setUint32(at + 8, id, true)
  view.setFloat64(at + 12, bytes, true)
  view.setFloat64(at + 20, received, true)
  view.setFloat64(at + 28, duration, true)
}

function readEnded(view: DataView, at: number): EndedRequest {
  return {
    link: view.getUint8(at),
    aborted: view.getUint8(at + 1) === 1,
    status: view.getUint16(at + 2, true) || undefined,
    epoch: view.getUint32(at + 4, true),
    id: view.getUint32(at + 8, true),
    bytes: figureAt(view, at + 12),
    received: figureAt(view, at + 20),
    duration: figureAt(view, at + 28),
  }
}

function figureAt(view: DataView, at: number): number {
  const value = view.getFloat64(at, true)
  if (value >= 0 && value <= Number.MAX_SAFE_INTEGER) return value
  throw new MalformedError(`expected a figure of an ended request, got ${value}`)
}

export function isReport(frame: Buffer): boolean {
  return frame[0] === REPORT
}

export function parseReport(frame: Buffer): Report {
  const [recorded, count] = frame.length < REPORT_HEAD ? [0, 0] : [frame.readUInt32LE(14), frame.readUInt32LE(18)]
  const recordsEnd = REPORT_HEAD + RECORD * recorded
  const end = recordsEnd + ENDED * count
  if (frame.length < end) throw new MalformedError(`expected a report of at least ${end} bytes, got ${frame.length}`)
  const seen = frame.readDoubleLE(2)
  if (!Number.isSafeInteger(seen) || seen < 0) throw new MalformedError(`expected a count in a report, got ${seen}`)
  const records: ReportRecord[] = []
  for (let at = REPORT_HEAD; at < recordsEnd; at += RECORD) {
    const report = REPORTS[frame[at] as number]
    if (report === undefined) throw new MalformedError(`expected a kind of report, got ${frame[at]}`)
    records.push({
      report,
      link: frame[at + 1] as number,
      epoch: frame.readUInt32LE(at + 2),
      id: frame.readUInt32LE(at + 6),
    })
  }
  const ended: EndedRequest[] = []
  if (count > 0) {
    const view = viewOf(frame)
    for (let at = recordsEnd; at < end; at += ENDED) ended.push(readEnded(view, at))
  }
  const lines = frame.subarray(end)
  const found = linesIn(lines)
  if (lines.length > 0 && (found !== count || lines.at(-1) !== LINE_FEED)) {
    throw new MalformedError(`expected ${count} lines in a report, got ${found}`)
  }
  return { thread: frame[1] as number, seen, inFlight: frame.readUInt32LE(10), records, ended, lines }
}

export function renderJson(value: Order | News): Buffer {
  return Buffer.from(JSON.stringify(value))
}

export function parseOrder(frame: Buffer): Order {
  return parseFields(frame, 'order', ORDERS)
}

export function parseNews(frame: Buffer): News {
  return parseFields(frame, 'news', NEWS)
}

/** A message of a named topic, from a thread to the dispatcher and on to the threads that have members. */
interface TopicFrame {
  readonly name: string
  readonly message: SharedMessage
}

/** Renders kind, sending thread, whether the message is binary, the lengths of the name and of the event's fields, then these and the message. */
export function renderTopicFrame(thread: number, { name, message }: TopicFrame): Buffer {
  const nameBytes = Buffer.from(name)
  const fields = Buffer.from(JSON.stringify(message.fields))
  const head = Buffer.allocUnsafe(TOPIC_HEAD)
  head[0] = TOPIC
  head[1] = thread
  head[2] = message.binary ? 1 : 0
  head.writeUInt32LE(nameBytes.length, 3)
  head.writeUInt32LE(fields.length, 7)
  return Buffer.concat([head, nameBytes, fields, message.payload])
}

export function isTopicFrame(frame: Buffer): boolean {
  return frame[0] === TOPIC
}

/** Copies a topic's message for another thread. */
export function addressTopicFrame(frame: Buffer, thread: number): Buffer {
  const copy = Buffer.from(frame)
  copy[1] = thread
  return copy
}

/** @throws MalformedError */
export function parseTopicFrame(frame: Buffer): TopicFrame {
  const start = frame.length < TOPIC_HEAD ? TOPIC_HEAD : TOPIC_HEAD + frame.readUInt32LE(3)
  const end = frame.length < TOPIC_HEAD ? TOPIC_HEAD : start + frame.readUInt32LE(7)
  if (end > frame.length) {
    throw new MalformedError(`expected a topic's message of at least ${end} bytes, got ${frame.length}`)
  }
  const name = frame.toString('utf8', TOPIC_HEAD, start)
  const fields = fieldsIn(frame.toString('utf8', start, end))
  return { name, message: new SharedMessage(frame[2] === 1, frame.subarray(end), fields) }
}

function fieldsIn(json: string): EventFields {
  try {
    return checkEventFields(JSON.parse(json))
  } catch (error) {
    throw new MalformedError(`expected an event's fields in a topic's message: ${error}`)
  }
}
