import { expect, it } from 'vitest'
import { RecentWarnings } from '../../../src/operations/recent-warnings.ts'

it('The last 20 warnings and errors are kept, escaped and cut, and logged as before', () => {
  const logged: unknown[][] = []
  const info = (...line: unknown[]) => logged.push(line)
  const warnings = new RecentWarnings({ info, warn: info })
  warnings.logger.info?.('started')
  for (let n = 0; n < 20; n++) warnings.logger.warn?.(`warning ${n}`, { worker: n })
  warnings.logger.error?.(`\u001b[31m${'x'.repeat(2000)}`)
  expect(warnings.lines).toHaveLength(20)
  expect(warnings.lines[0]).toEqual({ time: expect.any(Number), level: 'warn', line: '[worker 1] warning 1' })
  expect(warnings.lines[19]?.level).toBe('error')
  expect(warnings.lines[19]?.line).toMatch(/^\\x1b\[31mx{995}$/)
  expect(logged).toHaveLength(21)
  expect(logged.slice(0, 2)).toEqual([['started'], ['warning 0', { worker: 0 }]])
})
