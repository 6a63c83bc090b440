import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { WorkerProxy } from '../../../src/workers/dispatcher/worker-proxy.ts'
import type { WorkerHost } from '../../../src/workers/protocol/worker-handle.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const HOST: WorkerHost = {
  name: '',
  endpoints: 1,
  seesUploads: true,
  start: () => ({ pid: 1, send: () => {}, expectEnd: () => {}, kill: () => {} }),
}

/** The bounds of so many workers. */
function boundsOf(maxRequests: number, maxRequestsJitter: number): Set<number> {
  const settings = { threads: 1, workerTimeout: 1000, startTimeout: 1000, maxRequests, maxRequestsJitter }
  const observer = { report: () => {}, news: () => {}, topicMessage: () => {}, gone: () => {} }
  return new Set(Array.from({ length: 500 }, () => new WorkerProxy(settings, HOST, observer).maxRequests))
}

it('takes a number of requests of its own, from maxRequests to maxRequestsJitter more', () => {
  expect([...boundsOf(10, 3)].sort()).toEqual([10, 11, 12, 13])
  expect([...boundsOf(10, 0)]).toEqual([10])
  expect([...boundsOf(0, 0)]).toEqual([Number.POSITIVE_INFINITY])
})
