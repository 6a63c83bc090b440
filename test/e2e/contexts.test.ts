import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { visitAll } from '../support/contexts/visitors.ts'
import { embedded } from '../support/embedded.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'

const COMMAND = resolve('dist/src/cli/main.js')
const FILES = resolve('test/support/contexts')
const full = process.env.FULL === '1'
const LINKS = full ? ['zmtp', 'zeromq'] : [process.env.LINK ?? 'zmtp']

/** Where the user's code runs, by the arguments of the command; none is the library. */
const PLACES: Readonly<Record<string, readonly string[] | undefined>> = {
  'the library': undefined,
  'the process of the command': ['serve'],
  'a worker process': ['serve', '-p', '1'],
  'handler threads': ['serve', '--threads', '2'],
  'a process that pulls itself': ['serve', '--direct'],
  'the app process of dev': ['dev'],
}

let mongrel2: Mongrel2
let notes: string
let child: ChildProcess | undefined

const QUICK = ['the library', 'handler threads', 'a process that pulls itself']

beforeEach(async () => {
  mongrel2 = await startMongrel2()
  notes = join(await mkdtemp(join(tmpdir(), 'contexts-')), 'notes')
  await writeFile(notes, '')
})

afterEach(async () => {
  if (child !== undefined && child.exitCode === null) {
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    await exit
  }
  await mongrel2.stop()
  await rm(join(notes, '..'), { recursive: true })
})

/** Starts the app and resolves when it serves. */
async function start(link: string, command: readonly string[] | undefined): Promise<void> {
  const { endpoint, directory } = mongrel2
  const options = { zeromq: endpoint, link, chroot: directory, requestTimeout: 1000 }
  const flags = ['--zeromq', endpoint, '--link', link, '--chroot', directory, '--request-timeout', '1000']
  const [name, ...args] = command ?? []
  const argv =
    name === undefined
      ? [join(FILES, 'library.mjs')]
      : [COMMAND, name, join(FILES, 'app.mjs'), '--config', join(FILES, 'config.mjs'), ...flags, ...args]
  const env = { ...process.env, MODULE: resolve('dist/src/index.js'), NOTES: notes, OPTIONS: JSON.stringify(options) }
  child = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const text of child.stdout ?? []) if (/^mongrel2-fetch serves/m.test(String(text))) return
  throw new Error('it does not serve')
}

describe.each(LINKS)('on the link %s', (link) => {
  describe.each(Object.entries(PLACES))('in %s', (name, command) => {
    // The others start the same code in other ways.
    it.skipIf(!full && !QUICK.includes(name))(
      'no client sees what another has entered by enterWith, and each sees its own',
      async () => {
        await start(link, command)
        expect(await visitAll(mongrel2.port, notes, !embedded)).toEqual([])
      },
    )
  })
})
