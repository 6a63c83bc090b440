import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { checkOptions } from '../../../src/exchange/options.ts'
import { parseReport, type Report } from '../../../src/workers/protocol/frames.ts'
import { Core } from '../../../src/workers/worker/core.ts'
import { renderRequest } from '../support/message.ts'

/** How often a slot looks for connections that need no memory, in milliseconds. */
const SWEEP_INTERVAL = 1000
const HEAD = { slot: 0, link: 0, epoch: 1, balance: 0 }

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'setImmediate', 'clearImmediate', 'performance'] })
})

afterEach(() => {
  vi.useRealTimers()
})

it('what a slot reports of a connection holds for the messages that it had seen then', async () => {
  const reports: Report[] = []
  const core = new Core(
    checkOptions(() => new Response('answered'), { zeromq: 'ipc://a,ipc://b' }),
    0,
    {
      emit({ before, after }) {
        for (const report of [before, after]) if (report !== undefined) reports.push(parseReport(report))
      },
      tell() {},
      relay() {},
      isFull: () => false,
      drained: async () => {},
      feedback: (_epoch, address) => ({ address, bytesWritten: async () => new Map(), close() {} }),
    },
  )
  core.obey({ order: 'begin', link: 0, epoch: 1, prefix: '', life: undefined, flowControl: false })
  core.take(HEAD, renderRequest())
  await vi.advanceTimersByTimeAsync(SWEEP_INTERVAL)
  // It has been forgotten now, which is not reported yet.
  core.take(HEAD, renderRequest())
  await vi.advanceTimersByTimeAsync(10)
  const forgets = reports.filter(({ records }) => records.some(({ report }) => report === 'forgotten'))
  expect(forgets.map(({ seen }) => seen)).toEqual([1])
})
