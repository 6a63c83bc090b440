import { expect, it } from 'vitest'
import { Backoff, tickEnd } from '../../../src/runtime/promises.ts'

/** Goes on and on by promises alone; the returned list grows with each step. */
function manySteps(): number[] {
  const steps: number[] = []
  const walk = async () => {
    for (let step = 0; step < 100; step++) {
      await undefined
      steps.push(step)
    }
  }
  void walk()
  return steps
}

it.each<[where: string, call: (go: () => void) => unknown]>([
  ['a callback of the event loop', (go) => setImmediate(go)],
  ['a tick', (go) => process.nextTick(go)],
  ['a reaction to a promise', (go) => Promise.resolve().then(go)],
])('tickEnd in %s comes after all that waits for promises only', async (_where, call) => {
  const steps = await new Promise<number>((resolve) => {
    call(() => {
      const end = tickEnd()
      const walked = manySteps()
      end.then(() => resolve(walked.length))
    })
  })
  expect(steps).toBe(100)
})

it('Backoff doubles each wait up to its bound, and begins again after a success', () => {
  const backoff = new Backoff(100, 350)
  expect(backoff.failed).toBe(false)
  expect([backoff.next(), backoff.next(), backoff.next(), backoff.next(), backoff.failed]).toEqual([
    100,
    200,
    350,
    350,
    true,
  ])
  backoff.reset()
  expect([backoff.failed, backoff.next()]).toEqual([false, 100])
})
