import { defineConfig } from 'vitest/config'

const long = process.env.FULL === '1' ? ['test/full/**/*.test.ts'] : []

const report = process.env.REPORT ?? ''

export default defineConfig({
  test: {
    // How far all of it is shows by our own line.
    reporters: [
      ['default', { summary: false }],
      './test/support/progress-reporter.ts',
      ...(report === '' ? [] : [['json', { outputFile: report }] as ['json', object]]),
    ],
    include: ['test/unit/**/*.test.ts', 'test/e2e/**/*.test.ts', ...long],
    // Each file in a process of its own, with its own ZeroMQ and signals.
    pool: 'forks',
    // The command would keep the compiled code of all tests' apps in this user's cache.
    env: { NODE_DISABLE_COMPILE_CACHE: '1' },
    setupFiles: process.env.LIGHT === '1' ? ['test/support/light-objects.ts'] : [],
    // The default of Node 20 and 22. That of 24 is double and reached late: its heap grows by 60 MiB long after the warm-up of
    // the test that sees whether ours does.
    execArgv: ['--max-semi-space-size=16'],
    // End to end, a file is busy with a Mongrel2 and often an app beside it, but much of the time it waits: three at a time fill two cores.
    maxWorkers: 3,
    // How long something is waited for, not how long it may take: a machine with other work is no failure.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
  },
})
