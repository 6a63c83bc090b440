import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { showProgress } from '../../examples/progress.mjs'

const printed: string[] = []

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'Date'], now: new Date(2026, 0, 1, 14, 2) })
  vi.spyOn(console, 'error').mockImplementation((line: string) => void printed.push(line))
  vi.spyOn(process, 'stderr', 'get').mockReturnValue({ isTTY: false } as typeof process.stderr)
  printed.length = 0
})

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

it('prints a line every 30 seconds where there is no terminal', () => {
  const progress = showProgress('Testing')
  for (let second = 1; second <= 100; second++) {
    vi.advanceTimersByTime(1000)
    progress.at(second / 200, `${second} of 200`)
  }
  progress.end()
  expect(printed).toEqual([
    'Testing ...',
    'Testing [###-----------------] 15 %, 3 min left, ends 14:05: 30 of 200',
    'Testing [######--------------] 30 %, 3 min left, ends 14:05: 60 of 200',
    'Testing [#########-----------] 45 %, 2 min left, ends 14:05: 90 of 200',
  ])
})

it.each([
  [0.5, 30_000, '50 %, 30 s left, ends 14:03: half'],
  [0.25, 33_000, '25 %, 99 s left, ends 14:04: half'],
  [0.25, 60 * 60_000, '25 %, 3 h 0 min left, ends 18:02: half'],
  [1, 40_000, '100 %, 0 s left, ends 14:02: half'],
  [0, 40_000, 'Testing, 40 s so far: half'],
])('tells the end from the part %f and the time %i ms', (part, time, told) => {
  const progress = showProgress('Testing')
  vi.advanceTimersByTime(time)
  progress.at(part, 'half')
  progress.end()
  expect(printed[1]?.endsWith(told)).toBe(true)
})
