import { describe, expect, it } from 'vitest'
import { Admission } from '../../../src/exchange/admission.ts'

describe('Admission', () => {
  it('starts as many as there are places, and the others in their order as places become free', () => {
    const admission = new Admission(2, 10)
    const started: number[] = []
    for (let number = 1; number <= 5; number++) expect(admission.enter(() => started.push(number))).toBe(true)
    expect([started, admission.inFlight]).toEqual([[1, 2], 2])
    admission.leave()
    expect([started, admission.inFlight]).toEqual([[1, 2, 3], 2])
    admission.leave()
    admission.leave()
    expect([started, admission.inFlight]).toEqual([[1, 2, 3, 4, 5], 2])
    admission.leave()
    admission.leave()
    expect(admission.inFlight).toBe(0)
    expect(admission.enter(() => started.push(6))).toBe(true)
    expect(started.at(-1)).toBe(6)
  })

  it('refuses what the queue has no room for, and never starts it', () => {
    const admission = new Admission(1, 1)
    const started: string[] = []
    expect(admission.enter(() => started.push('first'))).toBe(true)
    expect(admission.enter(() => started.push('second'))).toBe(true)
    expect(admission.enter(() => started.push('third'))).toBe(false)
    admission.leave()
    admission.leave()
    expect(started).toEqual(['first', 'second'])
    expect(admission.inFlight).toBe(0)
  })

  it('refuses at once where nothing may wait', () => {
    const admission = new Admission(1, 0)
    expect(admission.enter(() => {})).toBe(true)
    expect(admission.enter(() => {})).toBe(false)
  })
})
