import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { checkOptions } from '../../../src/exchange/options.ts'
import { parseReport, type Report, renderDealtHead, renderJson } from '../../../src/workers/protocol/frames.ts'
import { WorkerServer } from '../../../src/workers/worker/worker-server.ts'
import { renderRequest } from '../support/message.ts'

/** How often a thread looks for connections that need no memory, in milliseconds. */
const SWEEP_INTERVAL = 1000
const HEAD = renderDealtHead({ thread: 0, link: 0, epoch: 1, unwrittenBytes: 0 })

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'setImmediate', 'clearImmediate', 'performance'] })
})

afterEach(() => {
  vi.useRealTimers()
})

it('what a thread reports of a connection holds for the messages that it had seen then', async () => {
  const reports: Report[] = []
  const server = new WorkerServer(
    checkOptions(() => new Response('answered'), { zeromq: 'ipc://a,ipc://b' }),
    0,
    {
      publish({ before, after }) {
        for (const report of [before, after]) if (report !== undefined) reports.push(parseReport(report))
      },
      send() {},
      isFull: () => false,
      drained: async () => {},
      feedback: (_epoch, address) => ({ address, bytesWritten: async () => new Map(), close() {} }),
    },
  )
  const take = (message: Buffer) => {
    server.receive(HEAD)
    server.receive(message)
  }
  server.receive(renderJson({ order: 'begin', link: 0, epoch: 1, prefix: '', socketId: undefined, flowControl: false }))
  take(renderRequest())
  await vi.advanceTimersByTimeAsync(SWEEP_INTERVAL)
  // It has been forgotten now, which is not reported yet.
  take(renderRequest())
  await vi.advanceTimersByTimeAsync(10)
  const forgets = reports.filter(({ records }) => records.some(({ report }) => report === 'forgotten'))
  expect(forgets.map(({ seen }) => seen)).toEqual([1])
})
