import { describe, expect, it } from 'vitest'
import { SharedMessage } from '../../../src/connection/shared-message.ts'
import { noFigures } from '../../../src/operations/figures.ts'
import { MalformedError } from '../../../src/wire/malformed.ts'
import { FrameParser, MORE, renderMessages } from '../../../src/wire/zmtp/frame.ts'
import {
  type EndedRequest,
  isDealtHead,
  isReport,
  type News,
  type Order,
  parseDealtHead,
  parseNews,
  parseOrder,
  parseReport,
  parseTopicFrame,
  renderDealtHead,
  renderJson,
  renderReport,
  renderTopicFrame,
} from '../../../src/workers/protocol/frames.ts'

const EMPTY = Buffer.alloc(0)
const ENDED: EndedRequest = {
  ...{ link: 1, epoch: 2, id: 3, status: 200, aborted: false, bytes: 100, received: 0, duration: 1.5 },
}
const linesOf = (lines: string, ...ended: EndedRequest[]) =>
  renderReport({ thread: 0, seen: 0, inFlight: 0, records: [], ended, lines })
const reportOf = (...ended: EndedRequest[]) => linesOf('', ...ended)
const REPORT = reportOf()

it('carry who gets a message and the unwritten bytes of its connection', () => {
  const head = { thread: 254, link: 255, epoch: 0xffff_fffe, unwrittenBytes: 102_400 }
  const frame = renderDealtHead(head)
  expect([isDealtHead(frame), isReport(frame), parseDealtHead(frame)]).toEqual([true, false, head])
})

it('carry reports of connections, with numbers beyond 32 bits of messages', () => {
  const report = {
    thread: 3,
    seen: 2 ** 40 + 1,
    inFlight: 7,
    records: [
      { link: 0, epoch: 1, id: 2_147_483_647, report: 'answering' },
      { link: 2, epoch: 9, id: 0, report: 'idle' },
      { link: 2, epoch: 9, id: 1, report: 'closed' },
      { link: 2, epoch: 9, id: 2, report: 'forgotten' },
    ],
    ended: [ENDED, { ...ENDED, status: undefined, aborted: true, received: 2 ** 40 }],
  } as const
  const lines = 'a line\nGET /\xe9 200\n'
  const frame = renderReport({ ...report, lines })
  const parsed = { ...report, lines: Buffer.from(lines, 'latin1') }
  expect([isReport(frame), isDealtHead(frame), parseReport(frame)]).toEqual([true, false, parsed])
})

it('carry orders and news', () => {
  const order = { order: 'stop', timeout: 5 } as const
  const news = { news: 'handedOver', thread: 0, link: 0, epoch: 1, id: 2, unwrittenBytes: undefined } as const
  expect([parseOrder(renderJson(order)), parseNews(renderJson(news))]).toEqual([order, news])
  expect([isReport(renderJson(news)), isDealtHead(renderJson(order))]).toEqual([false, false])
})

const ORDERS: Order[] = [
  { order: 'begin', link: 0, epoch: 1, prefix: '', socketId: 'x', flowControl: true },
  { order: 'end', link: 0, epoch: 1 },
  { order: 'flowControl', link: 255, epoch: 4_294_967_295 },
  { order: 'handOver', thread: 0, link: 0, epoch: 1, id: 2 },
  { order: 'ping' },
  { order: 'retire' },
  { order: 'goAway', timeout: 1.5 },
  { order: 'confirm', frames: 2 ** 40 },
  { order: 'cut' },
  { order: 'stop', timeout: 0 },
]

const NEWS: News[] = [
  { news: 'loaded' },
  { news: 'serves' },
  { news: 'file', path: '/app.ts' },
  { news: 'broken' },
  { news: 'failed', reason: 'why' },
  { news: 'line', level: 'warn', line: 'a line' },
  { news: 'attached', link: 0, epoch: 1 },
  { news: 'detached', link: 0, epoch: 1 },
  { news: 'flowControl', link: 0, epoch: 1 },
  { news: 'handedOver', thread: 0, link: 0, epoch: 1, id: 2, unwrittenBytes: 5 },
  {
    news: 'alive',
    thread: 3,
    rss: 100_000_000,
    figures: { ...noFigures(), credits: 1, controlPort: 2 },
    eventLoopDelay: 1.5,
  },
  { news: 'subscribed', thread: 0, topic: 'news' },
  { news: 'unsubscribed', thread: 0, topic: 'news' },
  { news: 'inputDrained', thread: 0 },
  { news: 'ended', thread: 0 },
  { news: 'leaving', reason: 'why' },
]

/** None of them may be in any field. */
const WRONG = [undefined, -1, 1e300, '', [], {}]

describe.each([
  ['order', ORDERS, parseOrder],
  ['news', NEWS, parseNews],
] as const)('Frames of JSON: each %s', (kind, frames, parse: (bytes: Buffer) => object) => {
  it.each(frames.map((frame) => [JSON.stringify(frame), frame] as const))('%s is read', (_json, frame) => {
    expect(parse(Buffer.from(JSON.stringify(frame)))).toEqual(frame)
  })

  it('has every field checked', () => {
    for (const frame of frames) {
      for (const [field, right] of Object.entries(frame)) {
        const optional = field === 'socketId' || field === 'unwrittenBytes' ? [undefined] : []
        const wrongs = WRONG.filter((wrong) => !optional.includes(wrong as undefined) && typeof wrong !== typeof right)
        for (const wrong of typeof right === 'number' ? [...wrongs, -1] : wrongs) {
          const bytes = Buffer.from(JSON.stringify({ ...frame, [field]: wrong }))
          expect(() => parse(bytes), `${bytes}`).toThrow(MalformedError)
        }
      }
    }
  })

  it.each(['', 'null', '[]', '5', '{}', `{"${kind}":"__proto__"}`, `{"${kind}":"toString"}`, '{"'])(
    'is refused as %j',
    (text) => {
      expect(() => parse(Buffer.from(text))).toThrow(MalformedError)
    },
  )
})

it.each([
  ['a report that is short', () => parseReport(Buffer.from('R'))],
  ['a report with half a record', () => parseReport(Buffer.concat([REPORT, Buffer.alloc(5)]))],
  ['a report of an unknown kind', () => parseReport(Buffer.concat([REPORT, Buffer.alloc(10, 9)]))],
  ['a report with half an ended request', () => parseReport(reportOf(ENDED).subarray(0, -1))],
  ['a report with half a line', () => parseReport(linesOf('a line\n', ENDED).subarray(0, -1))],
  ['a report with two lines of a request', () => parseReport(linesOf('a\nb\n', ENDED))],
  ['a report with a line and a half', () => parseReport(linesOf('a\nb', ENDED))],
  ['a report of negative bytes', () => parseReport(reportOf({ ...ENDED, bytes: -1 }))],
  ['a report of a duration that is none', () => parseReport(reportOf({ ...ENDED, duration: Number.NaN }))],
  ['a report of a number that is none', () => parseReport(Buffer.concat([Buffer.from('R'), Buffer.alloc(13, 0xff)]))],
  ['half a head of a message', () => parseDealtHead(Buffer.from('M'))],
  ["a topic's message that is short", () => parseTopicFrame(Buffer.from('T'))],
  ["a topic's message with a name beyond it", () => parseTopicFrame(Buffer.from('540000ffffffff00000000', 'hex'))],
  ["a topic's message with fields beyond it", () => parseTopicFrame(Buffer.from('54000000000000ffffffff', 'hex'))],
  [
    "a topic's message with fields that are none",
    () => parseTopicFrame(Buffer.from('5400000000000001000000ff', 'hex')),
  ],
  [
    "a topic's message with a field of two lines",
    () =>
      parseTopicFrame(renderTopicFrame(0, { name: 'a', message: new SharedMessage(false, EMPTY, { event: 'a\nb' }) })),
  ],
])('%s is refused', (_what, parse) => {
  expect(parse).toThrow(MalformedError)
})

it('of one turn are one message of several parts, large and small', () => {
  const bodies = [Buffer.from('a'), Buffer.alloc(300, 'b'), Buffer.alloc(10_000, 'c'), Buffer.from('d')]
  const seen: { length: number; more: boolean }[] = []
  const parser = new FrameParser(({ body, more }) => seen.push({ length: body.length, more }))
  for (const piece of renderMessages(bodies, MORE)) parser.push(piece)
  expect(seen).toEqual([
    { length: 1, more: true },
    { length: 300, more: true },
    { length: 10_000, more: true },
    { length: 1, more: false },
  ])
})
