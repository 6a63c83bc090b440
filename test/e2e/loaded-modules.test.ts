import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import Module from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { Workplace } from '../support/command.ts'
import { startMongrel2 } from '../support/mongrel2.ts'

// Loading is what a process, a worker and a thread wait for: what one request does not need is loaded when it is needed.

/** Prints what a process has loaded: Node's modules, and whether libzmq. */
const PRINT = `
  const { sharedObjects } = process.report.getReport()
  const libzmq = sharedObjects.some((path) => path.includes('zeromq'))
  console.log(JSON.stringify({ modules: process.moduleLoadList, libzmq }))`

interface Loaded {
  readonly modules: readonly string[]
  readonly libzmq: boolean
}

/** Runs code in another process, which ends by printing what it has loaded. */
async function loadedBy(code: string): Promise<Loaded> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code + PRINT])
  return JSON.parse(stdout)
}

const FETCH = 'NativeModule internal/deps/undici/undici'
const LATER = [
  'fs/promises',
  'http',
  'http2',
  'https',
  'tls',
  'zlib',
  'child_process',
  'perf_hooks',
  'sqlite',
  'worker_threads',
]

/** The files that an import of one loads, itself included. */
function importsOf(file: string, found = new Set<string>()): ReadonlySet<string> {
  if (found.has(file)) return found
  found.add(file)
  for (const [, path = ''] of readFileSync(file, 'utf8').matchAll(/^(?:import|export)\b[^;]*? from "(\.[^"]+)"/gm))
    importsOf(resolve(dirname(file), path), found)
  return found
}

it('an import of the package loads neither libzmq nor what other modules of Node bring', async () => {
  const bare = await loadedBy('')
  const { modules, libzmq } = await loadedBy("await import('mongrel2-fetch')")
  expect(libzmq).toBe(false)
  const added = modules.filter((name) => !bare.modules.includes(name))
  expect(added).toContain('NativeModule net')
  expect(added).not.toContain(FETCH)
  expect(added.filter((name) => LATER.includes(name.replace('NativeModule ', '')))).toEqual([])
})

it('an import of the package loads a few files, and no part of the command, the gateway or the admin address', () => {
  const files = [...importsOf(resolve('dist/src/index.js'))].map((file) => relative('dist', file))
  expect(files.length).toBeLessThanOrEqual(6)
  const maps = files.map((file) => join('dist', `${file}.map`)).filter((map) => existsSync(map))
  const sources = maps.flatMap((map) => {
    const { sources }: { sources: string[] } = JSON.parse(readFileSync(map, 'utf8'))
    return sources.map((source) => relative('src', join(dirname(map), source)))
  })
  expect(sources).toContain('exchange/app-server.ts')
  expect(sources.filter((source) => /^(?:cli|gateway|admin)\/|^\.\./.test(source))).toEqual([])
})

it.each([
  ['zmtp', false],
  ['zeromq', true],
])('to serve a request on the link %s loads libzmq: %s', async (link, needed) => {
  await using mongrel2 = await startMongrel2()
  const { libzmq, modules } = await loadedBy(`
    const { serveMongrel2 } = await import('mongrel2-fetch')
    const server = serveMongrel2(() => new Response('answered'), { zeromq: '${mongrel2.endpoint}', link: '${link}' })
    await server.ready
    const answer = await (await fetch('http://127.0.0.1:${mongrel2.port}/')).text()
    if (answer !== 'answered') throw new Error(answer)
    await server.close()`)
  expect(libzmq).toBe(needed)
  expect(modules).toContain(FETCH)
})

it.each([
  ['without an HTTP address loads no HTTP server', [], false],
  ['with an HTTP address loads one', ['--http', '127.0.0.1:0'], true],
])('serve %s', async (_, flags, needed) => {
  await using mongrel2 = await startMongrel2()
  await using workplace = new Workplace({
    'app.mjs': 'export default () => new Response()',
    'print.mjs': `process.on('exit', () => console.log('loaded ' + process.moduleLoadList.join()))`,
  })
  const run = workplace.run(['serve', 'app.mjs', '--zeromq', mongrel2.endpoint, ...flags], {
    NODE_OPTIONS: '--import ./print.mjs',
  })
  await run.prints(/serves app\.mjs/)
  run.signal('SIGTERM')
  const [loaded] = await run.prints(/loaded .*\n/)
  expect(loaded.split(',').includes('NativeModule https')).toBe(needed)
})

describe('The compiled code of modules', () => {
  const keeps = 'enableCompileCache' in Module

  beforeAll(() => {
    delete process.env.NODE_DISABLE_COMPILE_CACHE
  })

  it('is kept by the command in the cache of this user, for itself and for the app', async () => {
    await using workplace = new Workplace({ 'app.mjs': "export default () => new Response('answered')" })
    const env = { XDG_CACHE_HOME: join(workplace.directory, 'cache') }
    for (let start = 1; start <= 2; start++) {
      const run = workplace.run(['fetch', 'app.mjs', '/'], env)
      expect([await run.ended, run.stdout, run.stderr]).toEqual([0, 'answered', ''])
      expect(existsSync(join(env.XDG_CACHE_HOME, 'mongrel2-fetch'))).toBe(keeps)
    }
  })

  it('is not kept where the command cannot write', async () => {
    await using workplace = new Workplace({ 'app.mjs': "export default () => new Response('answered')" })
    const run = workplace.run(['fetch', 'app.mjs', '/'], { XDG_CACHE_HOME: '/dev/null' })
    expect([await run.ended, run.stdout, run.stderr]).toEqual([0, 'answered', ''])
  })

  it('is not kept by the library', async () => {
    await using workplace = new Workplace()
    const env = { XDG_CACHE_HOME: join(workplace.directory, 'cache') }
    const code = `await import(${JSON.stringify(pathToFileURL('dist/src/index.js').href)})`
    const run = workplace.start([process.execPath, '--input-type=module', '--eval', code], env)
    expect(await run.ended).toBe(0)
    expect(existsSync(env.XDG_CACHE_HOME)).toBe(false)
  })
})
