import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { countGarbage } from '../../../src/runtime/process/young-collection.ts'
import { mostExternalMemory } from '../support/external-memory.ts'

const PART = 20 * 1024

it('buffers that nobody keeps are collected after a few MiB', async () => {
  const most = await mostExternalMemory(PART, () => {
    Buffer.allocUnsafeSlow(PART)
    countGarbage(PART)
  })
  expect(most).toBeLessThan(16)
})

it("V8's collector is nobody else's", () => {
  expect(typeof globalThis.gc).toBe('undefined')
  expect(runInNewContext('typeof gc')).toBe('undefined')
})
