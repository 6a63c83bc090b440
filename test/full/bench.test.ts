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

it(
  'npm run bench -- --workload measures that one, whose answers are checked',
  async () => {
    const served = ['file64k', 'file1m', 'page', 'gzip', 'json100k', 'form100k']
    const chosen = served.flatMap((name) => ['--workload', name])
    // It ends with 1 when an answer is wrong.
    const { stdout, stderr } = await promisify(execFile)('npm', [
      ...['run', 'bench', '--', '--rounds', '1', '--only', 'node-server', '--only', 'zmtp'],
      ...chosen,
    ])
    const measured = stderr.matchAll(/^1\/1 (\S+) (\w+): rate [\d.]+, cpu/gm)
    const ofBoth = ['node-server', 'zmtp'].flatMap((name) => served.map((workload) => [name, workload]))
    expect([...measured].map(([, contender, workload]) => [contender, workload])).toEqual(ofBoth)
    expect(stdout).toMatch(/^CPU a request, A page of 20 KiB by JSX, .+ at most 1 × +[\d.]+ +(pass|FAIL)$/m)
  },
  TIMEOUT,
)

it(
  'npm run bench:profile says where the time of a request goes, in the handler and in a dispatcher',
  async () => {
    const only = ['--only', 'zmtp', '--only', 'workers-1', '--functions', '40']
    const { stdout } = await promisify(execFile)('npm', ['run', 'bench:profile', '--', ...only])
    const [, handler = '', dispatcher = ''] = stdout.split(/^mongrel2-fetch.*, Hono hello, µs of CPU a request$/m)
    for (const text of [handler, dispatcher]) {
      const shares = [...text.matchAll(/^(.+?) +\d+\.\d\d +(\d+\.\d) %$/gm)].map(([, , share]) => Number(share))
      const groups = shares.slice(
        0,
        shares.findIndex((share, at) => at > 0 && share > (shares[at - 1] ?? 0)),
      )
      expect(groups.reduce((sum, share) => sum + share, 0)).toBeCloseTo(100, -1)
    }
    expect(handler).toMatch(/^src\/exchange +\d/m)
    expect(handler).toMatch(/^parseMessage .+\/src\/wire\/message\.ts:\d+ +\d/m)
    expect(dispatcher).toMatch(/^src\/workers +\d/m)
    expect(dispatcher).not.toMatch(/^hono +\d/m)
  },
  TIMEOUT,
)
