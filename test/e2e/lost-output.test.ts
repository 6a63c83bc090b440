import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Workplace } from '../support/command.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'

const COMMAND = resolve('dist/src/cli/main.js')

/** Fails at one path, and writes to both streams, which a broken one would end a process by. */
const APP = `export default (request) => {
  process.stdout.write('a line\\n')
  process.stderr.write('a line\\n')
  console.log('a line')
  if (new URL(request.url).pathname === '/fail') throw new Error('the handler fails')
  return new Response('fine')
}
`

/** How the output is lost: by a reader that has gone, or a full disk. */
const LOSSES = ['reader', 'disk'] as const

let mongrel2: Mongrel2
let place: Workplace
let child: ChildProcess | undefined

beforeEach(async () => {
  mongrel2 = await startMongrel2()
  place = new Workplace({ 'app.mjs': APP })
})

afterEach(async () => {
  child?.kill('SIGKILL')
  await place[Symbol.asyncDispose]()
  await mongrel2.stop()
})

/** Starts the command, whose output is lost as soon as it serves. */
function serve(loss: (typeof LOSSES)[number], args: readonly string[]): ChildProcess {
  const full = openSync('/dev/full', 'w')
  const output = loss === 'disk' ? full : 'pipe'
  child = spawn(process.execPath, [COMMAND, 'serve', 'app.mjs', '--zeromq', mongrel2.endpoint, ...args], {
    cwd: place.directory,
    stdio: ['ignore', output, output],
  })
  closeSync(full)
  child.stdout?.destroy()
  child.stderr?.destroy()
  return child
}

async function ask(path: string): Promise<number> {
  return (await fetch(`http://127.0.0.1:${mongrel2.port}${path}`, { headers: { connection: 'close' } })).status
}

describe.each(LOSSES)('the command whose output has lost its %s', (loss) => {
  it.each([
    ['in one process', []],
    ['with a worker', ['-p', '1']],
    ['with handler threads', ['--threads', '2']],
    ['with a process that pulls itself', ['--direct']],
  ])('serves on and ends when it is told to, %s', async (_how, args) => {
    const command = serve(loss, args)
    // Mongrel2 keeps the first request until there is a handler.
    expect([await ask('/'), await ask('/fail'), await ask('/fail'), await ask('/')]).toEqual([200, 500, 500, 200])
    const exit = once(command, 'exit')
    command.kill('SIGTERM')
    expect(await exit).toEqual([0, null])
  })
})
