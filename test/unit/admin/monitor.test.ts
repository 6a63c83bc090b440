import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Monitor } from '../../../src/admin/monitor.ts'
import { StatedServer } from '../../support/admin-server.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance', 'Date'] })
})

afterEach(() => {
  vi.useRealTimers()
})

describe('A monitor', () => {
  it('tells the rate and the latency of the last ten seconds, and all that was counted', () => {
    const server = new StatedServer()
    const monitor = new Monitor(() => server.stats())
    for (let second = 0; second < 20; second++) {
      for (let n = 0; n < 10; n++) server.ended(second < 10 ? 500 : 200, second < 10 ? 400 : 7)
      vi.advanceTimersByTime(1000)
    }
    const { ended } = monitor.stats()
    expect(ended).toMatchObject({ total: 200, bytes: 20_000, received: 2000, aborted: 0, rate: 10 })
    expect(ended?.byClass).toEqual({ none: 0, '1xx': 0, '2xx': 100, '3xx': 0, '4xx': 0, '5xx': 100 })
    expect(ended?.latency?.p99).toBeLessThan(10)
  })

  it('keeps the last two minutes, second by second', () => {
    const server = new StatedServer()
    const monitor = new Monitor(() => server.stats())
    server.ended(404, 7)
    vi.advanceTimersByTime(1000)
    expect(monitor.seconds).toEqual([
      {
        time: Date.now(),
        byClass: { none: 0, '1xx': 0, '2xx': 0, '3xx': 0, '4xx': 1, '5xx': 0 },
        latency: { p50: 7.5, p95: 7.5, p99: 7.5 },
        inFlight: 5,
        queued: 6,
      },
    ])
    vi.advanceTimersByTime(200_000)
    expect(monitor.seconds).toHaveLength(120)
    expect(monitor.seconds.at(-1)).toMatchObject({ time: Date.now(), latency: undefined })
  })

  it('takes no samples of a server that does not count requests', () => {
    const server = new StatedServer(false)
    const monitor = new Monitor(() => server.stats())
    expect(vi.getTimerCount()).toBe(0)
    expect(monitor.stats()).toMatchObject({ messages: 1, obstacles: [] })
    expect(monitor.stats().ended).toBeUndefined()
  })

  it('ends with its server', () => {
    const server = new StatedServer()
    const monitor = new Monitor(() => server.stats())
    server.state = { ...server.state, closing: true }
    vi.advanceTimersByTime(1000)
    expect(vi.getTimerCount()).toBe(1)
    expect(monitor.stats().obstacles).toEqual(['the server closes'])
    server.attach(false)
    vi.advanceTimersByTime(1000)
    expect(vi.getTimerCount()).toBe(0)
  })
})
