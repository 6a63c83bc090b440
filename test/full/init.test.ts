// Makes a project of each template as docs/getting-started.md says, from an empty directory on, with the packed package.

import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { MAIN } from '../support/command.ts'
import { freePort } from '../support/free-port.ts'
import { PackageRegistry } from '../support/package-registry.ts'
import { Shell } from '../support/shell.ts'
import { INSTALL_TIMEOUT } from '../support/user-project.ts'

const LINE = 'npx mongrel2-fetch init my-app && cd my-app && npm install && npm run dev'

/** The templates, each with a path and what is answered there. */
const TEMPLATES = [
  ['hono', '/', 'You are 127.0.0.1'],
  ['itty', '/', '{"hello":"127.0.0.1"}'],
  ['plain', '/', 'Hello, 127.0.0.1!\n'],
  ['chat', '/', '<form id="form">'],
] as const

let directory: string
let registry: PackageRegistry
let env: Record<string, string>
const started: Shell[] = []

beforeAll(async () => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'init-')))
  registry = await PackageRegistry.start(directory)
  env = {
    npm_config_registry: registry.url,
    // npx keeps what it installs, and would run it again next time.
    npm_config_cache: join(directory, 'cache'),
    // Set by an npm that runs this test: npx and npm would take it for their own project.
    npm_config_local_prefix: '',
    // npx asks whether it may install the package.
    npm_config_yes: 'true',
    LOGNAME: 'test',
  }
})

afterAll(async () => {
  for (const shell of started) await shell.stop()
  await registry[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true, force: true })
})

it('is what Getting started begins with', () => {
  expect(readFileSync('docs/getting-started.md', 'utf8').split('```')[1]).toBe(`sh\n${LINE.replaceAll(' && ', '\n')}\n`)
})

it.each(TEMPLATES)(
  'a project of the template %s runs, and its own check and test are green',
  async (template, path, answer) => {
    const place = join(directory, template)
    mkdirSync(place)
    const project = join(place, 'my-app')
    const port = await freePort()
    const textOf = async (of: string = path) => await (await fetch(`http://127.0.0.1:${port}${of}`)).text()

    const line = template === 'hono' ? LINE : LINE.replace('init my-app', `init my-app --template ${template}`)
    const dev = start(line, place, { MONGREL2_FETCH_PORT: `${port}` })
    await dev.prints('mongrel2-fetch serves app.ts at', { timeout: INSTALL_TIMEOUT })
    expect(await textOf()).toContain(answer)
    await dev.stop()

    for (const args of [['run', 'check'], ['test']])
      execFileSync('npm', args, { cwd: project, env: { ...process.env, ...env } })

    const conf = join(project, 'mongrel2.conf')
    const text = readFileSync(conf, 'utf8').replace('port=6767', `port=${port}`)
    writeFileSync(conf, text.replace("# '/static/'", "'/static/'"))
    mkdirSync(join(project, 'mongrel2/public'), { recursive: true })
    writeFileSync(join(project, 'mongrel2/public/style.css'), 'body { color: green }')
    const mongrel2 = start('npm run mongrel2', project)
    const serve = start('npm start', project)
    await Promise.race([serve.prints('mongrel2-fetch serves app.ts at ipc://mongrel2/run/send'), mongrel2.ended])
    expect(await textOf()).toContain(answer)
    expect(await textOf('/static/style.css')).toBe('body { color: green }')
    if (template === 'chat') {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`)
      await once(socket, 'open')
      socket.send('Hello')
      expect(String((await once(socket, 'message'))[0])).toBe('Hello')
      socket.close()
    }
    await serve.stop()
    await mongrel2.stop()
  },
  2 * INSTALL_TIMEOUT,
)

const has = (program: string) =>
  (process.env.PATH ?? '').split(delimiter).some((path) => existsSync(join(path, program)))

it.skipIf(!has('systemd-analyze'))('systemd accepts the units of a project', () => {
  const srv = join(directory, 'srv')
  execFileSync(process.execPath, [MAIN, 'init', join(srv, 'Some App')])
  const app = join(srv, 'some-app')
  mkdirSync(join(app, 'node_modules/.bin'), { recursive: true })
  writeFileSync(join(app, 'node_modules/.bin/mongrel2-fetch'), '#!/bin/sh\n', { mode: 0o755 })
  const deploy = join(srv, 'Some App/deploy')
  const units = ['some-app.service', 'some-app-mongrel2.service'].map((name) => join(deploy, name))
  for (const unit of units) {
    const text = readFileSync(unit, 'utf8').replaceAll('/srv/', `${srv}/`)
    writeFileSync(unit, text.replace('User=mongrel2', 'User=daemon').replace('=/usr/bin/mongrel2', '=/bin/true'))
  }
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', ...units], { encoding: 'utf8' })
  expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: '' })
})

function start(commands: string, cwd: string, more: Record<string, string> = {}): Shell {
  const shell = new Shell(commands, cwd, { ...env, ...more })
  started.push(shell)
  return shell
}
