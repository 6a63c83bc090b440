import { describe, expect, it } from 'vitest'
import { ClosedConnections } from '../../../src/exchange/closed-connections.ts'

describe('ClosedConnections', () => {
  it('remembers a connection and the upload that was under way', () => {
    const closed = new ClosedConnections()
    closed.add(1, undefined, 0)
    closed.add(2, 'tmp/file', 0)
    expect([closed.has(1), closed.has(2), closed.has(3)]).toEqual([true, true, false])
    expect([1, 2, 3].map((id) => closed.uploadPath(id))).toEqual([undefined, 'tmp/file', undefined])
  })

  it('remembers for a minute at least, and forgets after the second turn', () => {
    const closed = new ClosedConnections()
    closed.add(1, 'tmp/file', 70_000)
    closed.add(2, undefined, 129_000)
    closed.add(3, undefined, 131_000)
    expect([closed.has(1), closed.has(2), closed.has(3), closed.has(5)]).toEqual([true, true, true, false])
    expect(closed.uploadPath(1)).toBe('tmp/file')
    closed.add(4, undefined, 192_000)
    expect([closed.has(1), closed.has(2), closed.has(3), closed.has(4)]).toEqual([false, false, true, true])
  })

  it('remembers the last 16,384 and at most twice as many', () => {
    const closed = new ClosedConnections()
    for (let id = 0; id < 100_000; id++) closed.add(id, undefined, 0)
    const remembered = Array.from({ length: 100_000 }, (_, id) => id).filter((id) => closed.has(id))
    expect(remembered.length).toBeGreaterThanOrEqual(16_384)
    expect(remembered.length).toBeLessThanOrEqual(2 * 16_384)
    expect(remembered[0]).toBe(100_000 - remembered.length)
  })
})
