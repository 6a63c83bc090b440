import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NumberMap } from '../../../src/runtime/number-map.ts'
import { memoryInUse } from '../../support/memory-in-use.ts'

const key = fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 2 ** 31 - 1 }))
const step = fc.oneof(
  fc.record({ type: fc.constant('set' as const), key, value: fc.nat() }),
  fc.record({ type: fc.constant('delete' as const), key }),
  fc.record({ type: fc.constant('clear' as const) }),
)

describe('NumberMap', () => {
  it('holds what a Map holds', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const map = new Map<number, number>()
        const own = new NumberMap<number>()
        for (const one of steps) {
          if (one.type === 'set') {
            map.set(one.key, one.value)
            own.set(one.key, one.value)
          } else if (one.type === 'delete') expect(own.delete(one.key)).toBe(map.delete(one.key))
          else {
            map.clear()
            own.clear()
          }
          expect(own.size).toBe(map.size)
        }
        expect(own.values().sort()).toEqual([...map.values()].sort())
        for (const [id, value] of map) expect([own.has(id), own.get(id)]).toEqual([true, value])
        for (const one of steps) if ('key' in one) expect(own.get(one.key)).toBe(map.get(one.key))
      }),
    )
  })

  it('finds numbers that would share a slot, as those of connections never end to rise', () => {
    const map = new NumberMap<number>()
    for (let id = 0; id < 100_000; id++) {
      map.set(id * 16, id)
      if (id >= 10) expect(map.delete((id - 10) * 16)).toBe(true)
    }
    expect(map.values().sort()).toEqual([99990, 99991, 99992, 99993, 99994, 99995, 99996, 99997, 99998, 99999])
  })

  it('keeps every entry while most are deleted, and no memory for those', async () => {
    const map = new NumberMap<number>()
    const before = await memoryInUse()
    for (let id = 0; id < 200_000; id++) map.set(id, -id)
    expect((await memoryInUse()) - before).toBeGreaterThan(2_000_000)
    const left = (id: number) => id % 20_000 === 7
    for (let id = 0; id < 200_000; id++) if (!left(id)) map.delete(id)
    for (let id = 0; id < 200_000; id++) if (map.get(id) !== (left(id) ? -id : undefined)) expect.unreachable(`${id}`)
    expect([map.size, map.values().length]).toEqual([10, 10])
    expect((await memoryInUse()) - before).toBeLessThan(500_000)
    for (const id of map.values()) map.delete(-id)
    expect([map.size, map.values()]).toEqual([0, []])
  })
})
