import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { LinkOption, Mongrel2Options } from '../../src/index.ts'
import { residentBytes } from '../support/memory.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { ServerProcess } from '../support/server-process.ts'
import { SlowClient } from '../support/slow-client.ts'
import { still } from '../support/still.ts'

const MIB = 1024 * 1024
const CLIENTS = 40
const APP = new URL('streams/app.ts', import.meta.url)

it.each<[how: string, link: LinkOption, options: Partial<Mongrel2Options>, most: number]>([
  // 4 MiB for each connection, and what is on its way.
  ['by a control port that nobody has named', 'zmtp', {}, CLIENTS * 8 * MIB],
  ['by a control port that nobody has named', 'zeromq', {}, CLIENTS * 8 * MIB],
  // 256 MiB, of which Mongrel2 has some twice for a moment.
  ['where nobody tells what was read', 'zmtp', { controlPort: false }, 1.75 * 256 * MIB],
  ['where nobody tells what was read', 'zeromq', { controlPort: false }, 1.75 * 256 * MIB],
])(
  '40 clients that ask for 100 MB and do not read fill neither Mongrel2 nor the handler %s, on %s',
  async (_how, link, options, most) => {
    await using mongrel2 = await startMongrel2()
    const { endpoint: zeromq, directory: chroot } = mongrel2
    await using server = await ServerProcess.start(APP, { zeromq, chroot, link, ...options })
    const before = { mongrel2: residentBytes(mongrel2.pid), handler: (await server.report({ collect: true })).rss }
    const clients = Array.from({ length: CLIENTS }, () => new SlowClient(mongrel2.port).stop().get('/100000000/65536'))
    await expect
      .poll(async () => (await server.report()).stats.bytesOut, { timeout: 30_000 })
      .toBeGreaterThan(100 * MIB)
    await still(() => Math.floor(residentBytes(mongrel2.pid) / (4 * MIB)), 2000)
    const growth = residentBytes(mongrel2.pid) - before.mongrel2
    const handler = (await server.report({ collect: true })).rss - before.handler
    expect(growth).toBeLessThan(most)
    // maxBufferedBytes for each.
    expect(handler).toBeLessThan(CLIENTS * 10 * MIB)
    await sleep(8000)
    expect(residentBytes(mongrel2.pid) - before.mongrel2).toBeLessThan(most)
    for (const client of clients) client.destroy()
  },
  120_000,
)
