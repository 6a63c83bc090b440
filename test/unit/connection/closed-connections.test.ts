import { describe, expect, it } from 'vitest'
import { ClosedConnections } from '../../../src/connection/closed-connections.ts'

describe('ClosedConnections', () => {
  it('remembers a connection', () => {
    const closed = new ClosedConnections()
    closed.add(1, 0)
    closed.add(2, 0)
    expect([closed.has(1), closed.has(2), closed.has(3)]).toEqual([true, true, false])
  })

  it('remembers for a minute at least, and forgets after the second turn', () => {
    const closed = new ClosedConnections()
    closed.add(1, 70_000)
    closed.add(2, 129_000)
    closed.add(3, 131_000)
    expect([closed.has(1), closed.has(2), closed.has(3), closed.has(5)]).toEqual([true, true, true, false])
    closed.add(4, 192_000)
    expect([closed.has(1), closed.has(2), closed.has(3), closed.has(4)]).toEqual([false, false, true, true])
  })

  it('remembers the last 16,384 and at most twice as many', () => {
    const closed = new ClosedConnections()
    for (let id = 0; id < 100_000; id++) closed.add(id, 0)
    const remembered = Array.from({ length: 100_000 }, (_, id) => id).filter((id) => closed.has(id))
    expect(remembered.length).toBeGreaterThanOrEqual(16_384)
    expect(remembered.length).toBeLessThanOrEqual(2 * 16_384)
    expect(remembered[0]).toBe(100_000 - remembered.length)
  })
})
