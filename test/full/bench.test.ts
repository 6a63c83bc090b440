import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const TIMEOUT = 120_000

it(
  'npm run bench -- --quick measures contenders and says what became of the goals',
  async () => {
    const only = ['--only', 'nginx', '--only', 'zeromq-plain']
    // It ends with 1 when an answer is wrong or a connection breaks.
    const { stdout } = await promisify(execFile)('npm', ['run', 'bench', '--', '--quick', ...only])
    const tables = stdout.split('\n\n')
    for (const title of ['Hono hello', 'JSON POST, 1024 bytes echoed', 'A page with 20 response headers']) {
      const table = tables[tables.findIndex((text) => text.trim() === title) + 1]
      expect(table).toMatch(/^nginx → @hono\/node-server +[\d,]+ +[\d.]+ +[\d.]+ +1\.00$/m)
      expect(table).toMatch(/^mongrel2-fetch on zeromq\.js, plain Response +[\d,]+ +[\d.]+ +[\d.]+ +\d+\.\d\d$/m)
    }
    expect(stdout).toMatch(/^goal +wanted +measured$/m)
  },
  TIMEOUT,
)
