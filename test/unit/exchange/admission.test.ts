import { describe, expect, it } from 'vitest'
import { Admission } from '../../../src/exchange/admission.ts'

describe('Admission', () => {
  it('gives as many places as there are, and to those that wait in their order as places become free', () => {
    const admission = new Admission(2, 10)
    const started: number[] = []
    expect([admission.enter(), admission.enter(), admission.enter()]).toEqual([true, true, false])
    for (let number = 1; number <= 3; number++) expect(admission.queue(() => started.push(number))).toBe(true)
    expect([started, admission.inFlight]).toEqual([[], 2])
    admission.leave()
    expect([started, admission.inFlight]).toEqual([[1], 2])
    admission.leave()
    admission.leave()
    expect([started, admission.inFlight]).toEqual([[1, 2, 3], 2])
    admission.leave()
    admission.leave()
    expect(admission.inFlight).toBe(0)
    expect(admission.enter()).toBe(true)
  })

  it('refuses what the queue has no room for, and never starts it', () => {
    const admission = new Admission(1, 1)
    const started: string[] = []
    expect(admission.enter()).toBe(true)
    expect(admission.queue(() => started.push('second'))).toBe(true)
    expect(admission.queue(() => started.push('third'))).toBe(false)
    admission.leave()
    admission.leave()
    expect(started).toEqual(['second'])
    expect(admission.inFlight).toBe(0)
  })

  it('lets nobody wait where nothing may', () => {
    const admission = new Admission(1, 0)
    expect(admission.enter()).toBe(true)
    expect(admission.queue(() => {})).toBe(false)
  })

  it('gives at most half of the places, and of the queue, to requests whose body still comes', () => {
    const admission = new Admission(4, 4)
    const started: string[] = []
    expect([1, 2, 3].map(() => admission.enter(true))).toEqual([true, true, false])
    const waits = (name: string, awaitsBody: boolean) => admission.queue(() => started.push(name), awaitsBody)
    expect([waits('a', true), waits('b', true), waits('c', true)]).toEqual([true, true, false])
    expect([admission.enter(), admission.enter(), admission.enter()]).toEqual([true, true, false])
    expect([waits('d', false), waits('e', false), waits('f', false)]).toEqual([true, true, false])
    admission.leave()
    expect(started).toEqual(['d'])
    // A place that was for a body is one of the others then.
    admission.bodyCame()
    expect(started).toEqual(['d'])
    admission.leave()
    expect(started).toEqual(['d', 'a'])
    admission.leave(true)
    expect(started).toEqual(['d', 'a', 'b'])
    for (let left = 4; left > 0; left--) admission.leave(left <= 2)
    expect([started, admission.inFlight, admission.load]).toEqual([['d', 'a', 'b', 'e'], 1, 1])
  })

  it('counts those that wait because of bodies for nothing: others still find places', () => {
    const admission = new Admission(4, 10)
    for (let count = 0; count < 2; count++) admission.enter(true)
    for (let count = 0; count < 5; count++) admission.queue(() => {}, true)
    expect([admission.inFlight, admission.load]).toEqual([2, 2])
    admission.enter()
    expect([admission.inFlight, admission.load]).toEqual([3, 3])
  })
})
