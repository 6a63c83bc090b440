import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { Workplace } from '../support/command.ts'
import { startMongrel2 } from '../support/mongrel2.ts'

/** Samples of OpenMetrics get a time on import only if they have one. */
const TIME = 1_700_000_000

it.each([
  ['one process', []],
  ['workers', ['-p', '2', '--threads', '2']],
  ['processes that pull directly', ['-p', '2', '--direct']],
])("Prometheus' own tool reads the metrics of %s in both formats, and has nothing to say", async (_way, flags) => {
  await using mongrel2 = await startMongrel2()
  await using place = new Workplace({
    'app.js': 'export default ({ url }) => new Response("Hello", { status: url.endsWith("/missing") ? 404 : 200 })',
  })
  const admin = `http://127.0.0.1:${mongrel2.port}`
  const run = place.run(['serve', 'app.js', '--zeromq', mongrel2.endpoint, '--admin', '127.0.0.1:0', ...flags])
  const [, address = ''] = await run.prints(/mongrel2-fetch shows its state at (\S+)/)
  await run.prints(/^mongrel2-fetch serves/m)
  for (const path of ['/', '/missing', '/']) await (await fetch(admin + path)).text()
  const scrape = async (accept: string) => await (await fetch(`${address}metrics`, { headers: { accept } })).text()
  await expect.poll(() => scrape('text/plain')).toMatch(/^mongrel2_fetch_requests_total\{status="2xx"\} 2$/m)

  const promtool = (input: string, ...args: string[]) => {
    const { status, stdout, stderr, error } = spawnSync('promtool', args, {
      input,
      cwd: place.directory,
      encoding: 'utf8',
    })
    if (error !== undefined) throw new Error('install prometheus, which has promtool', { cause: error })
    return { status, stdout, stderr }
  }
  const checked = promtool(await scrape('text/plain'), 'check', 'metrics')
  expect(checked).toEqual({ status: 0, stdout: '', stderr: '' })
  const text = await scrape('application/openmetrics-text; version=1.0.0')
  writeFileSync(join(place.directory, 'open'), text.replace(/^[^#].*$/gm, `$& ${TIME}`))
  const imported = promtool('', 'tsdb', 'create-blocks-from', 'openmetrics', 'open', 'blocks')
  expect(imported).toMatchObject({ status: 0, stderr: '' })
  // Its table has the number of samples.
  expect(imported.stdout).toContain(` ${text.match(/^[^#]/gm)?.length} `)
})
