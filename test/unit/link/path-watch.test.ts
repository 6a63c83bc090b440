import { afterEach, expect, it, vi } from 'vitest'
import { PathWatch } from '../../../src/link/path-watch.ts'
import { freePort } from '../../support/free-port.ts'

afterEach(() => {
  vi.useRealTimers()
})

it('does not wait for the next look when it is closed during one', async () => {
  const port = await freePort()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const watch = new PathWatch(`tcp://127.0.0.1:${port}`)
  const found = watch.found()
  watch.close()
  await found
  expect(vi.getTimerCount()).toBe(0)
})
