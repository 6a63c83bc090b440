import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Workplace } from '../support/command.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'

// A worker that cannot end by itself is given some time, and then killed.

const LOOP = "export default () => { console.log('loops'); for (;;); }"
const HANGS = "console.log('loads'); await new Promise(() => setInterval(() => {}, 1000))"

let place: Workplace
let mongrel2: Mongrel2

beforeEach(async () => {
  place = new Workplace()
  mkdirSync(join(place.directory, 'tmp'))
  mongrel2 = await startMongrel2()
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
  await mongrel2.stop()
})

it.each([
  ['a process', LOOP, ['serve', '-p', '1']],
  ['a thread', LOOP, ['serve', '--threads', '2']],
  ['a process that pulls for itself', LOOP, ['serve', '-p', '1', '--direct']],
  ['an app under development', LOOP, ['dev']],
  ['a process', HANGS, ['serve', '-p', '1']],
  ['a thread', HANGS, ['serve', '--threads', '2']],
  ['a process that pulls for itself', HANGS, ['serve', '-p', '1', '--direct']],
])(
  '%s with %j does not outlive a command that is killed',
  { timeout: 90_000 },
  async (_, app, [command = '', ...flags]) => {
    place.write('app.js', app)
    const run = place.run(
      [
        command,
        'app.js',
        '--zeromq',
        mongrel2.endpoint,
        '--chroot',
        mongrel2.directory,
        '--no-override-global-objects',
        ...flags,
      ],
      { TMPDIR: join(place.directory, 'tmp') },
    )
    if (app === LOOP) {
      await run.prints(/^mongrel2-fetch serves/m)
      fetch(`http://127.0.0.1:${mongrel2.port}/`).catch(() => {})
      await run.prints(/^loops$/m)
    } else await run.prints(/^loads$/m)
    run.signal('SIGKILL')
    // When all have closed its output.
    await run.ended
    const left = () => readdirSync(join(place.directory, 'tmp')).filter((name) => name.startsWith('mongrel2-fetch'))
    await expect.poll(left).toEqual([])
  },
)
