import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CommandRun, MAIN, Workplace } from '../support/command.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { BUN, DENO, installRuntime } from '../support/other-runtimes.ts'
import { INSTALL_TIMEOUT } from '../support/user-project.ts'

const LARGE = 1024 * 1024
const APP = `
export default async (request: Request): Promise<Response> => {
  if (new URL(request.url).pathname === '/large') return new Response(new Uint8Array(${LARGE}))
  if (request.method === 'POST') return new Response(request.body)
  const parts: AsyncGenerator<Uint8Array> = (async function* () {
    for (const part of ['streamed ', 'from ', new URL(request.url).pathname]) yield new TextEncoder().encode(part)
  })()
  return new Response(ReadableStream.from(parts))
}`

describe.each([DENO, BUN])('On $name $version', (other) => {
  const { name, version } = other
  let place: Workplace
  let mongrel2: Mongrel2
  let runtime: string[]

  beforeAll(async () => {
    place = new Workplace({ 'app.ts': APP })
    runtime = await installRuntime(place.directory, other)
    mongrel2 = await startMongrel2()
  }, INSTALL_TIMEOUT)

  afterAll(async () => {
    await place?.[Symbol.asyncDispose]()
    await mongrel2?.stop()
  })

  async function answersAndEnds(run: CommandRun): Promise<void> {
    const url = `http://127.0.0.1:${mongrel2.port}/path`
    expect(await (await fetch(url)).text()).toBe('streamed from /path')
    const large = await fetch(`http://127.0.0.1:${mongrel2.port}/large`)
    expect((await large.arrayBuffer()).byteLength).toBe(LARGE)
    const body = 'x'.repeat(10_000)
    expect(await (await fetch(url, { method: 'POST', body })).text()).toBe(body)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
  }

  it('the command serves, and says what it runs on', async () => {
    const { endpoint, directory } = mongrel2
    // Where the control port is found, which is asked by libzmq where that can be loaded.
    const run = place.start([...runtime, MAIN, 'serve', 'app.ts', '--zeromq', endpoint, '--chroot', directory])
    await run.prints(/^mongrel2-fetch serves app.ts/m)
    expect(run.stderr).toMatch(new RegExp(`^mongrel2-fetch \\S+ on ${name} ${version.replace('.', '\\.')}\\.`))
    await answersAndEnds(run)
  })

  it('the library serves', async () => {
    place.write(
      'main.ts',
      `import { serveMongrel2 } from '${pathToFileURL(resolve('dist/src/index.js')).href}'
      import app from './app.ts'
      const server = serveMongrel2(app, { zeromq: '${mongrel2.endpoint}', chroot: '${mongrel2.directory}' })
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
