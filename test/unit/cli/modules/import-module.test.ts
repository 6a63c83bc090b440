import { afterEach, expect, it, vi } from 'vitest'
import { addPlace } from '../../../../src/cli/modules/import-module.ts'

afterEach(() => {
  vi.unstubAllGlobals()
})

it('leaves the error as it is when no other process can be started', async () => {
  vi.stubGlobal('process', { ...process, execPath: '/nonexistent/node' })
  const error = new SyntaxError('wrong')
  const stack = `${error.name}: wrong\n    at compileSourceTextModule (node:internal/modules/esm/utils:1:1)`
  error.stack = stack
  await addPlace(error, '/app.js')
  expect(error.stack).toBe(stack)
})
