import { defineConfig } from 'vitest/config'

const long = process.env.FULL === '1' ? ['test/full/**/*.test.ts'] : []

export default defineConfig({
  test: {
    include: ['test/unit/**/*.test.ts', 'test/e2e/**/*.test.ts', ...long],
    // Each file in a process of its own, with its own ZeroMQ and signals.
    pool: 'forks',
    // End to end, a file is busy with a Mongrel2 and often an app beside it: two at a time fill two cores.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
})
