import { PACING_MODES, type PacingCounts } from '../../connection/pacing/pacing.ts'
import { SharedMessage } from '../../connection/shared-message.ts'
import { isObject } from '../../runtime/errors.ts'
import { LOG_LEVELS } from '../../runtime/log.ts'
import { checkEventFields } from '../../topic/options.ts'
import type { EventFields } from '../../wire/http.ts'
import { MalformedError } from '../../wire/malformed.ts'
import {
  bool,
  byte,
  count,
  type FieldCheck,
  type FrameOf,
  oneOf,
  or,
  parseFields,
  text,
  time,
  uint32,
} from './frame-fields.ts'

// The frames between the dispatcher and a worker process. Messages and reports, of which there are many, have a binary form; the rest is
// JSON. Every field is checked, since a worker may run on a machine that is not trusted.

/** The file descriptors of a worker's pipes: it reads the first and writes to the second. */
export const ORDERS_FD = 3
export const REPORTS_FD = 4

/** A handler thread's report of a connection; `idle` and `forgotten` hold for the messages that it had seen. */
export type ConnectionReport = 'answering' | 'idle' | 'deferred' | 'closed' | 'forgotten'

const DEALT = 0x4d
const REPORT = 0x52
const TOPIC = 0x54
const DEALT_HEAD = 11
const REPORT_HEAD = 14
const TOPIC_HEAD = 11
const RECORD = 10
const REPORTS: readonly ConnectionReport[] = ['answering', 'idle', 'deferred', 'closed', 'forgotten']

const ORDERS = {
  /** An epoch has begun: replies to it go to the link's endpoint. `socketId` is the name that it is known by on this machine. */
  begin: { link: byte, epoch: uint32, prefix: text, socketId: or(undefined, text), flowControl: bool },
  /** The epoch is over. */
  end: { link: byte, epoch: uint32 },
  flowControl: { link: byte, epoch: uint32 },
  /** Give up a connection, unless something is open on it. */
  handOver: { thread: byte, link: byte, epoch: uint32, id: uint32 },
  /** Each thread is to report that it is alive. */
  ping: {},
  /** Forget connections as soon as possible. */
  retire: {},
  /** Close WebSockets, and finish what needs messages within a time: no more will come. */
  goAway: { timeout: time },
  /** The dispatcher, on another machine, has received so many frames. */
  confirm: { frames: count },
  /** The dispatcher cannot be reached and has given up what is open: close it without an answer, and end. */
  cut: {},
  /** Answer what is open within a time, and end. */
  stop: { timeout: time },
}

/** How many connections are paced in each way. */
const pacingCounts: FieldCheck<PacingCounts> = {
  expected: 'counts of credits, controlPort and estimate',
  holds: (value): value is PacingCounts => isObject(value) && PACING_MODES.every((mode) => count.holds(value[mode])),
}

const NEWS = {
  /** The app is loaded in each thread. */
  loaded: {},
  /** The app is served, by a process that pulls itself. */
  serves: {},
  /** The app has loaded a file, of which changes are to be noticed. */
  file: { path: text },
  /** The app cannot be loaded, and the process ends. */
  failed: { reason: text },
  /** A line for the parent's logger. */
  line: { level: oneOf(LOG_LEVELS), line: text },
  /** Replies to an epoch can be delivered. */
  attached: { link: byte, epoch: uint32 },
  /** They cannot any more. */
  detached: { link: byte, epoch: uint32 },
  flowControl: { link: byte, epoch: uint32 },
  /** `balance`: bytes that Mongrel2 has not written yet; null when the connection stays. */
  handedOver: { thread: byte, link: byte, epoch: uint32, id: uint32, balance: or(null, uint32) },
  /** The process' resident set in bytes, and how the thread's connections are paced. */
  alive: { thread: byte, rss: count, pacing: pacingCounts },
  /** A thread has members of a topic with a name. */
  subscribed: { thread: byte, topic: text },
  /** It has none any more. */
  unsubscribed: { thread: byte, topic: text },
  /** A thread needs no messages any more. */
  inputDrained: { thread: byte },
  /** A thread is gone. */
  ended: { thread: byte },
  /** The process asks to be replaced. */
  leaving: { reason: text },
}

/** What the dispatcher orders. Times are in milliseconds. */
export type Order = FrameOf<typeof ORDERS, 'order'>

/** What a worker process reports. */
export type News = FrameOf<typeof NEWS, 'news'>

/** The head of a message, which is the next frame. */
export interface DealtHead {
  readonly thread: number
  readonly link: number
  readonly epoch: number
  /** Bytes that Mongrel2 has not written yet to a connection that comes from another thread. */
  readonly balance: number
}

/** A report of one connection. */
export interface ReportRecord {
  readonly link: number
  readonly epoch: number
  readonly id: number
  readonly report: ConnectionReport
}

/** A thread's report of its connections, having seen so many messages. */
export interface Report {
  readonly thread: number
  readonly seen: number
  readonly inFlight: number
  readonly records: readonly ReportRecord[]
}

export function renderDealtHead({ thread, link, epoch, balance }: DealtHead): Buffer {
  const frame = Buffer.allocUnsafe(DEALT_HEAD)
  frame[0] = DEALT
  frame[1] = thread
  frame[2] = link
  frame.writeUInt32LE(epoch, 3)
  frame.writeUInt32LE(balance, 7)
  return frame
}

export function isDealtHead(frame: Buffer): boolean {
  return frame[0] === DEALT
}

/** The thread that the next frame is for. */
export function dealtThreadOf(head: Buffer): number {
  return head[1] as number
}

export function parseDealtHead(frame: Buffer): DealtHead {
  if (frame.length !== DEALT_HEAD) {
    throw new MalformedError(`expected ${DEALT_HEAD} bytes that say who gets a message, got ${frame.length}`)
  }
  return {
    thread: frame[1] as number,
    link: frame[2] as number,
    epoch: frame.readUInt32LE(3),
    balance: frame.readUInt32LE(7),
  }
}

export function renderReport({ thread, seen, inFlight, records }: Report): Buffer {
  const frame = Buffer.allocUnsafe(REPORT_HEAD + RECORD * records.length)
  frame[0] = REPORT
  frame[1] = thread
  frame.writeDoubleLE(seen, 2)
  frame.writeUInt32LE(inFlight, 10)
  let at = REPORT_HEAD
  for (const { link, epoch, id, report } of records) {
    frame[at] = REPORTS.indexOf(report)
    frame[at + 1] = link
    frame.writeUInt32LE(epoch, at + 2)
    frame.writeUInt32LE(id, at + 6)
    at += RECORD
  }
  return frame
}

export function isReport(frame: Buffer): boolean {
  return frame[0] === REPORT
}

export function parseReport(frame: Buffer): Report {
  if (frame.length < REPORT_HEAD || (frame.length - REPORT_HEAD) % RECORD !== 0) {
    throw new MalformedError(
      `expected a report of ${REPORT_HEAD} bytes and ${RECORD} for each record, got ${frame.length}`,
    )
  }
  const seen = frame.readDoubleLE(2)
  if (!count.holds(seen)) throw new MalformedError(`expected ${count.expected} as seen of a report, got ${seen}`)
  const records: ReportRecord[] = []
  for (let at = REPORT_HEAD; at < frame.length; at += RECORD) {
    const report = REPORTS[frame[at] as number]
    if (report === undefined) throw new MalformedError(`expected a kind of report, got ${frame[at]}`)
    records.push({
      report,
      link: frame[at + 1] as number,
      epoch: frame.readUInt32LE(at + 2),
      id: frame.readUInt32LE(at + 6),
    })
  }
  return { thread: frame[1] as number, seen, inFlight: frame.readUInt32LE(10), records }
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

/** A message of a topic with a name, as it goes from a thread to the dispatcher and on to the threads that have members. */
interface TopicFrame {
  readonly name: string
  readonly message: SharedMessage
}

/**
 * Renders kind, thread, whether the message is bytes, the lengths of the name and of the event's fields, then these and the message.
 *
 * @param thread The sender.
 */
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

/** The thread that a topic's message comes from, or goes to. */
export function topicThreadOf(frame: Buffer): number {
  return frame[1] as number
}

/** The topic that a message is for. */
export function topicNameOf(frame: Buffer): string {
  return parseTopicFrame(frame).name
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
