import { expect, it } from 'vitest'
import {
  isDealtHead,
  isReport,
  parseDealtHead,
  parseNews,
  parseOrder,
  parseReport,
  renderDealtHead,
  renderJson,
  renderReport,
} from '../../../src/cluster/frames.ts'
import { FrameParser, renderMultipart } from '../../../src/wire/zmtp-frame.ts'

it('carry who gets a message and the balance of its connection', () => {
  const head = { slot: 254, link: 255, epoch: 0xffff_fffe, balance: 102_400 }
  const frame = renderDealtHead(head)
  expect([isDealtHead(frame), isReport(frame), parseDealtHead(frame)]).toEqual([true, false, head])
})

it('carry reports of connections, with numbers beyond 32 bits of messages', () => {
  const report = {
    slot: 3,
    seen: 2 ** 40 + 1,
    inFlight: 7,
    records: [
      { link: 0, epoch: 1, id: 2_147_483_647, report: 'answering' },
      { link: 2, epoch: 9, id: 0, report: 'idle' },
      { link: 2, epoch: 9, id: 1, report: 'closed' },
      { link: 2, epoch: 9, id: 2, report: 'forgotten' },
    ],
  } as const
  const frame = renderReport(report)
  expect([isReport(frame), isDealtHead(frame), parseReport(frame)]).toEqual([true, false, report])
})

it('carry orders and news', () => {
  const order = { order: 'stop', timeout: 5 } as const
  const news = { news: 'handedOver', slot: 0, link: 0, epoch: 1, id: 2, balance: null } as const
  expect([parseOrder(renderJson(order)), parseNews(renderJson(news))]).toEqual([order, news])
  expect([isReport(renderJson(news)), isDealtHead(renderJson(order))]).toEqual([false, false])
})

it('of one turn are one message of several parts, large and small', () => {
  const bodies = [Buffer.from('a'), Buffer.alloc(300, 'b'), Buffer.alloc(10_000, 'c'), Buffer.from('d')]
  const seen: { length: number; more: boolean }[] = []
  const parser = new FrameParser(({ body, more }) => seen.push({ length: body.length, more }))
  for (const piece of renderMultipart(bodies)) parser.push(piece)
  expect(seen).toEqual([
    { length: 1, more: true },
    { length: 300, more: true },
    { length: 10_000, more: true },
    { length: 1, more: false },
  ])
})
