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
})
