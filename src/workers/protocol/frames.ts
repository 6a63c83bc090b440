import { PACING_MODES, type PacingCounts } from '../../connection/pacing/pacing.ts'
import { isObject } from '../../runtime/errors.ts'
import { type Level, LOG_LEVELS } from '../../runtime/log.ts'
import { MalformedError } from '../../wire/malformed.ts'
import type { ConnectionReport } from '../dispatcher/dealing.ts'
import {
  bool,
  byte,
  count,
  type FieldCheck,
  type FrameFields,
  oneOf,
  or,
  parseFields,
  text,
  time,
  uint32,
} from './frame-fields.ts'

/**
 * What the dispatcher and a worker process say to each other, frame by frame. Messages and reports, of which there are many, have a
 * form of bytes; the rest is JSON. Workers may be on machines whose word is not to be trusted: every field is checked.
 */

const DEALT = 0x4d
const REPORT = 0x52
const DEALT_HEAD = 11
const REPORT_HEAD = 14
const RECORD = 10
const REPORTS: readonly ConnectionReport[] = ['answering', 'idle', 'deferred', 'closed', 'forgotten']

/** What the dispatcher orders. Times are in milliseconds. */
export type Order =
  /** A life of a Mongrel2 has begun: replies to it go to the link's endpoint. */
  | {
      readonly order: 'begin'
      readonly link: number
      readonly epoch: number
      /** What it subscribed to. */
      readonly prefix: string
      /** What others on this machine know that life by. */
      readonly life: string | undefined
      readonly flowControl: boolean
    }
  /** It is over. */
  | { readonly order: 'end'; readonly link: number; readonly epoch: number }
  | { readonly order: 'flowControl'; readonly link: number; readonly epoch: number }
  | {
      readonly order: 'handOver'
      readonly slot: number
      readonly link: number
      readonly epoch: number
      readonly id: number
    }
  /** Asks each slot for a sign of life. */
  | { readonly order: 'ping' }
  /** Connections are to be forgotten as soon as they can be. */
  | { readonly order: 'retire' }
  /** Leave is to be taken of the clients of WebSockets, and what needs messages to be finished within a time: no more will come. */
  | { readonly order: 'goAway'; readonly timeout: number }
  /** So many frames of what the worker said have been heard: for one that waits for it, on another machine. */
  | { readonly order: 'told'; readonly frames: number }
  /** The dispatcher cannot be reached and has given up what is open: it is to be closed without an answer, and then the process ends. */
  | { readonly order: 'cut' }
  /** What is open is to be answered within a time, and then the process ends. */
  | { readonly order: 'stop'; readonly timeout: number }

/** What a worker process tells. */
export type News =
  /** The app is loaded in each slot. */
  | { readonly news: 'loaded' }
  /** It cannot be loaded, and the process ends. */
  | { readonly news: 'failed'; readonly reason: string }
  /** A line for the dispatcher's logger. */
  | { readonly news: 'line'; readonly level: Level; readonly line: string }
  /** Replies to an epoch can be delivered. */
  | { readonly news: 'attached'; readonly link: number; readonly epoch: number }
  /** They cannot any more. */
  | { readonly news: 'detached'; readonly link: number; readonly epoch: number }
  | { readonly news: 'flowControl'; readonly link: number; readonly epoch: number }
  | {
      readonly news: 'handedOver'
      readonly slot: number
      readonly link: number
      readonly epoch: number
      readonly id: number
      /** Bytes that Mongrel2 has not written yet; null when the connection stays. */
      readonly balance: number | null
    }
  /** A sign of life; the process' resident set in bytes, and how the slot's connections are paced. */
  | { readonly news: 'alive'; readonly slot: number; readonly rss: number; readonly pacing: PacingCounts }
  /** A slot has members of a topic with a name. */
  | { readonly news: 'subscribed'; readonly slot: number; readonly topic: string }
  /** It has none any more. */
  | { readonly news: 'unsubscribed'; readonly slot: number; readonly topic: string }
  /** A slot needs no messages any more. */
  | { readonly news: 'heard'; readonly slot: number }
  /** A slot is gone. */
  | { readonly news: 'ended'; readonly slot: number }
  /** The process wants to be replaced. */
  | { readonly news: 'leaving'; readonly reason: string }

const ORDERS: FrameFields<Order, 'order'> = {
  begin: { link: byte, epoch: uint32, prefix: text, life: or(undefined, text), flowControl: bool },
  end: { link: byte, epoch: uint32 },
  flowControl: { link: byte, epoch: uint32 },
  handOver: { slot: byte, link: byte, epoch: uint32, id: uint32 },
  ping: {},
  retire: {},
  goAway: { timeout: time },
  told: { frames: count },
  cut: {},
  stop: { timeout: time },
}

/** How many connections are paced in each way. */
const pacingCounts: FieldCheck = {
  expected: 'counts of credits, controlPort and estimate',
  holds: (value) => isObject(value) && PACING_MODES.every((mode) => count.holds(value[mode])),
}

const NEWS: FrameFields<News, 'news'> = {
  loaded: {},
  failed: { reason: text },
  line: { level: oneOf(LOG_LEVELS), line: text },
  attached: { link: byte, epoch: uint32 },
  detached: { link: byte, epoch: uint32 },
  flowControl: { link: byte, epoch: uint32 },
  handedOver: { slot: byte, link: byte, epoch: uint32, id: uint32, balance: or(null, uint32) },
  alive: { slot: byte, rss: count, pacing: pacingCounts },
  subscribed: { slot: byte, topic: text },
  unsubscribed: { slot: byte, topic: text },
  heard: { slot: byte },
  ended: { slot: byte },
  leaving: { reason: text },
}

/** Who gets a message, which is the next frame. */
export interface DealtHead {
  readonly slot: number
  readonly link: number
  readonly epoch: number
  /** Bytes that Mongrel2 has not written yet to a connection that comes from elsewhere. */
  readonly balance: number
}

/** What has become of a connection. */
export interface ReportRecord {
  readonly link: number
  readonly epoch: number
  readonly id: number
  readonly report: ConnectionReport
}

/** What a slot reports of its connections, having seen so many messages. */
export interface Report {
  readonly slot: number
  readonly seen: number
  readonly inFlight: number
  readonly records: readonly ReportRecord[]
}

export function renderDealtHead({ slot, link, epoch, balance }: DealtHead): Buffer {
  const frame = Buffer.allocUnsafe(DEALT_HEAD)
  frame[0] = DEALT
  frame[1] = slot
  frame[2] = link
  frame.writeUInt32LE(epoch, 3)
  frame.writeUInt32LE(balance, 7)
  return frame
}

export function isDealtHead(frame: Buffer): boolean {
  return frame[0] === DEALT
}

export function parseDealtHead(frame: Buffer): DealtHead {
  if (frame.length !== DEALT_HEAD) {
    throw new MalformedError(`expected ${DEALT_HEAD} bytes that say who gets a message, got ${frame.length}`)
  }
  return {
    slot: frame[1] as number,
    link: frame[2] as number,
    epoch: frame.readUInt32LE(3),
    balance: frame.readUInt32LE(7),
  }
}

export function renderReport({ slot, seen, inFlight, records }: Report): Buffer {
  const frame = Buffer.allocUnsafe(REPORT_HEAD + RECORD * records.length)
  frame[0] = REPORT
  frame[1] = slot
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
  return { slot: frame[1] as number, seen, inFlight: frame.readUInt32LE(10), records }
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
