import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CONFIG_VARIABLE, type WorkerConfig } from '../../src/workers/worker/worker-config.ts'
import { Workplace } from '../support/command.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { RawClient, request } from '../support/raw-client.ts'

// Whoever starts processes may be killed at any moment: they end, and nothing is left behind or printed.

const HOOK = new URL('../support/register-tsx.mjs', import.meta.url).href
const PROGRAM = fileURLToPath(new URL('../support/workers-program.ts', import.meta.url))

/** When something is killed, in milliseconds since it has said that it begins: while its children load their modules, or the app. */
const MOMENTS = process.env.FULL === '1' ? [0, 25, 50, 100, 200, 300, 400, 600, 800] : [0, 200]

let place: Workplace
let mongrel2: Mongrel2

beforeEach(async () => {
  place = new Workplace({ 'app.ts': "export default () => new Response('served')" })
  mkdirSync(temporary())
  mongrel2 = await startMongrel2()
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
  await mongrel2.stop()
})

/** The temporary directory of what is started. */
function temporary(): string {
  return join(place.directory, 'tmp')
}

async function expectNothingLeft(): Promise<void> {
  // A shell removes the directories when its pipe has ended. Those of tsx are its own.
  const left = () => readdirSync(temporary()).filter((name) => name.startsWith('mongrel2-fetch'))
  await expect.poll(left).toEqual([])
}

describe('a program with workers', { timeout: 90_000 }, () => {
  /** Starts one and resolves when it has said something. `ended` resolves with what it and all its workers have printed when all have ended. */
  async function startProgram(
    word: string,
    threads: number,
  ): Promise<{ end(signal: NodeJS.Signals): void; ended: Promise<string> }> {
    const args = ['--import', HOOK, PROGRAM, mongrel2.endpoint, mongrel2.directory, String(threads)]
    const child = spawn(process.execPath, args, {
      env: { ...process.env, TMPDIR: temporary() },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let errors = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    // Workers have inherited the other ends of the pipes.
    const ended = once(child, 'close').then(() => errors)
    let output = ''
    for await (const text of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
      output += text
      if (output.includes(word)) break
    }
    child.stdout.resume()
    return { end: (signal) => child.kill(signal), ended }
  }

  it.each<[NodeJS.Signals, number]>([
    ['SIGTERM', 1],
    ['SIGKILL', 1],
    ['SIGKILL', 2],
  ])('that is ended by %s leaves nothing, with %d threads, from its first moments on', async (signal, threads) => {
    for (const moment of MOMENTS) {
      const program = await startProgram('begun', threads)
      await sleep(moment)
      program.end(signal)
      expect(await program.ended).toBe('')
    }
    await expectNothingLeft()
  })

  it('that is killed leaves what is open to its workers', async () => {
    const program = await startProgram('ready', 1)
    using client = new RawClient(mongrel2.port)
    client.send(request('/stream?count=20&ms=50'))
    await expect.poll(() => client.bytesRead).toBeGreaterThan(0)
    program.end('SIGKILL')
    expect((await client.response()).body.toString().match(/\n/g)).toHaveLength(20)
    expect(await program.ended).toBe('')
    await expectNothingLeft()
  })
})

describe('the command, when it is killed', { timeout: 90_000 }, () => {
  it.each([
    ['at once, with workers', /^mongrel2-fetch .* starts/m, ['serve', '-p', '2', '--threads', '2']],
    ['when it serves, with workers', /^mongrel2-fetch serves/m, ['serve', '-p', '2']],
    ['at once, with workers that pull for themselves', /^mongrel2-fetch .* starts/m, ['serve', '-p', '2', '--direct']],
    [
      'when it serves, with workers that pull for themselves',
      /^mongrel2-fetch serves/m,
      ['serve', '-p', '2', '--direct'],
    ],
    ['when it serves HTTP, too', /^mongrel2-fetch serves/m, ['serve', '--http', '127.0.0.1:0']],
    ['when it serves for development', /^mongrel2-fetch serves/m, ['dev']],
  ])('%s, leaves nothing', async (_, said, [command = '', ...flags]) => {
    const args = [command, 'app.ts', '--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory, ...flags]
    for (const moment of MOMENTS) {
      const run = place.run(args, { TMPDIR: temporary() })
      await run.prints(said)
      await sleep(moment)
      run.signal('SIGKILL')
      expect(await run.ended).toBe('SIGKILL')
      expect(run.stderr).not.toMatch(/^ +at |Error/m)
    }
    await expectNothingLeft()
  })

  it('with a Mongrel2 or a stand-in of its own ends that, too', async () => {
    for (const env of [{}, { PATH: place.directory }]) {
      const run = place.run(['dev', 'app.ts', '--port', '0'], { TMPDIR: temporary(), ...env })
      const [, port] = await run.prints(/^mongrel2-fetch serves .* at http:\/\/127\.0\.0\.1:(\d+)\//m)
      run.signal('SIGKILL')
      await run.ended
      await expect.poll(async () => await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)).toBeUndefined()
    }
    await expectNothingLeft()
  })

  it('by a second signal, leaves nothing', async () => {
    const run = place.run(['serve', 'app.ts', '-p', '2', '--zeromq', mongrel2.endpoint, '--http', '127.0.0.1:0'], {
      TMPDIR: temporary(),
    })
    await run.prints(/^mongrel2-fetch serves/m)
    run.signal('SIGTERM')
    // More than what counts as together.
    await sleep(400)
    run.signal('SIGTERM')
    await run.ended
    await expectNothingLeft()
  })
})

describe('a worker whose parent is gone before it has read a word', () => {
  it.each([1, 2])('ends and says nothing, with %d threads', async (threads) => {
    const config: WorkerConfig = {
      threads,
      app: { module: new URL('../support/worker-app.ts', import.meta.url).href },
      options: { zeromq: mongrel2.endpoint },
      logLevels: ['error'],
      remote: false,
    }
    const worker = spawn(process.execPath, ['--import', HOOK, 'dist/src/workers/worker/process.js'], {
      env: { ...process.env, [CONFIG_VARIABLE]: JSON.stringify(config) },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    })
    for (const pipe of worker.stdio.slice(3)) pipe?.destroy()
    let errors = ''
    worker.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    const [code] = await once(worker, 'close')
    expect([code, errors]).toEqual([0, ''])
  })
})
