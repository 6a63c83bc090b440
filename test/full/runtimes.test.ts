import { execFile } from 'node:child_process'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CommandRun, MAIN, Workplace } from '../support/command.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { INSTALL_TIMEOUT } from '../support/user-project.ts'

const ARCH = process.arch === 'arm64' ? { deno: 'arm64', bun: 'aarch64' } : { deno: 'x64', bun: 'x64' }

/** Other runtimes, by the npm packages that hold nothing but their program. */
const RUNTIMES = [
  { name: 'Deno', version: '2', pack: `@deno/linux-${ARCH.deno}-glibc`, program: 'deno', args: ['run', '--allow-all'] },
  { name: 'Bun', version: '1.4', pack: `@oven/bun-linux-${ARCH.bun}`, program: 'bin/bun', args: [] },
]

const APP = `
export default async (request: Request): Promise<Response> => {
  if (request.method === 'POST') return new Response(request.body)
  const parts: AsyncGenerator<Uint8Array> = (async function* () {
    for (const part of ['streamed ', 'from ', new URL(request.url).pathname]) yield new TextEncoder().encode(part)
  })()
  return new Response(ReadableStream.from(parts))
}`

describe.each(RUNTIMES)('On $name $version', ({ name, version, pack, program, args }) => {
  let place: Workplace
  let mongrel2: Mongrel2
  let runtime: string[]

  beforeAll(async () => {
    place = new Workplace({ 'app.ts': APP })
    const install = ['install', '--prefer-offline', '--no-audit', '--no-fund', `${pack}@${version}`]
    await promisify(execFile)('npm', install, { cwd: place.directory })
    runtime = [join(place.directory, 'node_modules', pack, program), ...args]
    mongrel2 = await startMongrel2()
  }, INSTALL_TIMEOUT)

  afterAll(async () => {
    await place?.[Symbol.asyncDispose]()
    await mongrel2?.stop()
  })

  async function answersAndEnds(run: CommandRun): Promise<void> {
    const url = `http://127.0.0.1:${mongrel2.port}/path`
    expect(await (await fetch(url)).text()).toBe('streamed from /path')
    const body = 'x'.repeat(10_000)
    expect(await (await fetch(url, { method: 'POST', body })).text()).toBe(body)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
  }

  it('the command serves, and says what it runs on', async () => {
    const run = place.start([...runtime, MAIN, 'serve', 'app.ts', '--zeromq', mongrel2.endpoint])
    await run.prints(/^mongrel2-fetch serves app.ts/m)
    expect(run.stderr).toMatch(new RegExp(`^mongrel2-fetch \\S+ on ${name} ${version.replace('.', '\\.')}\\.`))
    await answersAndEnds(run)
  })

  it('the library serves', async () => {
    place.write(
      'main.ts',
      `import { serveMongrel2 } from '${pathToFileURL(resolve('dist/src/index.js')).href}'
      import app from './app.ts'
      const server = serveMongrel2(app, { zeromq: '${mongrel2.endpoint}' })
      process.on('SIGTERM', async () => {
        await server.close()
        process.exit(0)
      })
      await server.ready
      console.log('ready')`,
    )
    const run = place.start([...runtime, 'main.ts'])
    await run.prints(/^ready$/m)
    await answersAndEnds(run)
  })
})
