// The long commands of this repository on a pseudo-terminal.

import { expect, it } from 'vitest'
import { Terminal } from '../support/terminal.ts'

it.each([
  [
    'npm test',
    ['test', '--', 'test/unit/wire/http.test.ts'],
    [
      /Checking types and lint \(npm run check\), \d+ s so far/,
      /Testing, \d+ s so far: 0 of 1 files, test\/unit\/wire\//,
    ],
    /^\d+ passed, 0 failed$/m,
  ],
  [
    'npm run bench',
    ['run', 'bench', '--', '--quick', '--only', 'zeromq-plain'],
    [/Measuring \[#+-+\] 33 %, \d+ s left, ends \d\d:\d\d: 1 of 3 measurements, 1\/1 zeromq-plain echo/],
    /^mongrel2-fetch on zeromq\.js, plain Response +[\d,]+/m,
  ],
  [
    'npm run soak',
    ['run', 'soak', '--', '--minutes', '0.2'],
    [/Traffic for 0\.2 min \[#+-+\] \d+ %, \d+ s left, ends \d\d:\d\d: \d+ requests, 0 lost, 0 wrong, 0 hung/],
    /^lost +0\nwrong +0\nhung +0$/m,
  ],
])('%s shows in one line how far it is', async (_, args, moving, shown) => {
  await using terminal = new Terminal(['npm', ...args], { columns: 150, env: { FULL: '' } })
  expect(await terminal.ended).toBe(0)
  for (const line of moving) expect(terminal.written).toMatch(line)
  await terminal.shows(shown)
  expect(terminal.lines.join('\n')).not.toMatch(/so far|left, ends/)
})
