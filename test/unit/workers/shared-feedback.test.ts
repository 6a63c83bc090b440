import { expect, it } from 'vitest'
import { type Deferred, deferred } from '../../../src/runtime/promises.ts'
import { shareFeedback } from '../../../src/workers/worker/shared-feedback.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

it('a control port that is asked while a question is under way is asked again, once for all who wait', async () => {
  const questions: Deferred<Map<number, number>>[] = []
  const bytesWritten = () => {
    const answer: Deferred<Map<number, number>> = deferred()
    questions.push(answer)
    return answer.promise
  }
  const shared = shareFeedback({ address: { spec: 'ipc://x', named: false }, bytesWritten, close: () => {} })

  const first = shared.bytesWritten()
  await turn()
  // Their connections may be newer than the question.
  const others = [shared.bytesWritten(), shared.bytesWritten()]
  await turn()
  expect(questions.length).toBe(1)
  questions[0]?.reject(new Error('no answer'))
  await expect(first).rejects.toThrow('no answer')
  await turn()
  expect(questions.length).toBe(2)
  questions[1]?.resolve(new Map([[7, 100]]))
  expect(await Promise.all(others)).toEqual([new Map([[7, 100]]), new Map([[7, 100]])])
})
