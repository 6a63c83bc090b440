import { afterEach, expect, it } from 'vitest'
import { ANSWER, AppProject, appCode } from '../support/app-project.ts'
import { Workplace } from '../support/command.ts'
import { freePort } from '../support/free-port.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'

// The whole table of kinds of apps, on all versions of Node, is in test/full.

const TYPESCRIPT = { ending: 'tsx', syntax: 'import' } as const
const COMMONJS = { ending: 'cts', syntax: 'export =' } as const
const IN_MODULE = { ending: 'js', syntax: 'require' } as const
const IN_COMMONJS = { ending: 'js', syntax: 'import' } as const

const opened: AsyncDisposable[] = []

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

function opening<T extends AsyncDisposable>(one: T): T {
  opened.push(one)
  return one
}

async function textOf(mongrel2: Mongrel2): Promise<string> {
  // A kept connection stays with its worker.
  const headers = { connection: 'close' }
  return await (await fetch(`http://127.0.0.1:${mongrel2.port}/`, { headers })).text()
}

it.each([
  ['in one process', [], 'commonjs', TYPESCRIPT],
  ['in a worker process', ['-p', '1'], 'commonjs', COMMONJS],
  ['in threads', ['--threads', '2'], 'commonjs', TYPESCRIPT],
  ['in threads', ['--threads', '2'], undefined, COMMONJS],
  ['in processes that pull for themselves', ['-p', '2', '--direct'], undefined, TYPESCRIPT],
  ['in one process', [], 'module', IN_MODULE],
  ['in one process', [], 'commonjs', IN_COMMONJS],
] as const)('serve %s %j loads an app in a project of type %s: %j', async (_, args, type, file) => {
  const mongrel2 = opening(await startMongrel2())
  const project = opening(new AppProject(type))
  const path = `app.${file.ending}`
  project.write(path, appCode(file))
  // Of the other kind than the app.
  project.write('mongrel2-fetch.config.cjs', "exports.default = { host: 'from.file' }")
  const run = project.run(['serve', path, '--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory, ...args])
  await run.prints(/^mongrel2-fetch serves app/m)
  expect(await textOf(mongrel2)).toBe(ANSWER)
  expect(run.stderr).not.toMatch(/Warning/)
  run.signal('SIGTERM')
  expect(await run.ended).toBe(0)
})

it('a node of a cluster loads its own app', async () => {
  const mongrel2 = opening(await startMongrel2({ tcp: true }))
  const main = opening(new Workplace({ 'app.tsx': "export default () => new Response('main')" }))
  const node = opening(new AppProject('commonjs'))
  node.write('app.tsx', appCode(TYPESCRIPT))
  const cluster = ['--cluster', `tcp://127.0.0.1:${await freePort()}`]
  const zeromq = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory]
  await main.run(['serve', 'app.tsx', ...zeromq, ...cluster]).prints(/^mongrel2-fetch serves/m)
  await node.run(['serve', ...cluster]).prints(/^mongrel2-fetch serves as a node/m)
  const answers = async () => await Promise.all(Array.from({ length: 8 }, () => textOf(mongrel2)))
  await expect.poll(answers).toContain(ANSWER)
})

it.each([
  ['module', TYPESCRIPT],
  ['commonjs', TYPESCRIPT],
  [undefined, COMMONJS],
] as const)('dev serves an app in a project of type %s anew after a change of a part: %j', async (type, file) => {
  const project = opening(new AppProject(type))
  const path = `app.${file.ending}`
  project.write(path, appCode(file))
  const run = project.run(['dev', path, '--port', '0'])
  const [, url = ''] = await run.prints(/at (http:\S+) /)
  const text = async () => await (await fetch(url)).text()
  expect(await text()).toBe(ANSWER)
  project.write('part.ts', "export const part: string = 'changed'")
  await expect.poll(text).toBe(ANSWER.replace('part', 'changed'))
  // An import by an alias of tsconfig.json is watched, too, and a part that does not load.
  project.write('lib/aliased.ts', 'export const aliased: string = (')
  await expect.poll(text).toMatch(/lib\/aliased\.ts:1:/)
  project.write('lib/aliased.ts', "export const aliased: string = 'mended'")
  await expect.poll(text).toBe('changed mended enum')
})

it.each([
  ['app.ts', 'const a: string = (\n', /app\.ts:\d+:/],
  ['app.js', 'export default (\n', /app\.js:\d+/],
  ['app.cts', "import a = require('./none')\nexport = a", /Cannot find module '\.\/none'[\s\S]*app\.cts/],
] as const)('an app %s that does not load is named with the place: %j', async (path, code, place) => {
  const project = opening(new AppProject('commonjs'))
  project.write(path, code)
  const run = project.run(['serve', path, '--zeromq', 'ipc://nobody-1,ipc://nobody-2'])
  expect(await run.ended).toBe(3)
  expect(run.stderr).toContain(`${path} could not be loaded`)
  expect(run.stderr).toMatch(place)
})

it('an app with a syntax error is named without the place when no other process can be started', async () => {
  const project = opening(new AppProject('commonjs'))
  project.write('app.js', 'export default (\n')
  project.write('no-node.mjs', "process.execPath = '/nonexistent/node'")
  const env = { NODE_OPTIONS: '--import ./no-node.mjs' }
  const run = project.run(['serve', 'app.js', '--zeromq', 'ipc://nobody-1,ipc://nobody-2'], env)
  expect(await run.ended).toBe(3)
  expect(run.stderr).toContain('app.js could not be loaded')
  expect(run.stderr).toContain('SyntaxError')
  expect(run.stderr).not.toMatch(/app\.js:\d+/)
})

it.each([
  ['module.exports = { app }', ['--export', 'app']],
  ['exports.app = app', ['--export', 'app']],
  ['exports.default = app', []],
  ['module.exports = app', []],
  ['module.exports = { fetch: app }', []],
] as const)('CommonJS with `%s` is served with %j', async (exported, args) => {
  const mongrel2 = opening(await startMongrel2())
  const project = opening(new AppProject('module'))
  project.write('app.js', `const app = () => new Response('served')\n${exported}`)
  const run = project.run(['serve', 'app.js', '--zeromq', mongrel2.endpoint, ...args])
  await run.prints(/^mongrel2-fetch serves app/m)
  expect(await textOf(mongrel2)).toBe('served')
})
