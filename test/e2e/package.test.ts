import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** Packing and installing wait for the disk, and for the registry where the cache has nothing. */
const INSTALL_TIMEOUT = 120_000

let directory: string
let files: string[]

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'package-test-'))
  // Without scripts: `prepare` would build dist/ anew while other tests use it.
  const packed = await run(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', directory],
    process.cwd(),
  )
  const [tarball] = JSON.parse(packed) as { filename: string; files: { path: string }[] }[]
  if (tarball === undefined) throw new Error(`Expected a tarball, got ${packed}`)
  files = tarball.files.map(({ path }) => path)
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ name: 'a-user', private: true, type: 'module' }))
  await install(`./${tarball.filename}`)
}, INSTALL_TIMEOUT)

afterAll(() => {
  rmSync(directory, { recursive: true, force: true })
})

describe('The packed package', () => {
  it('has what is built and what it was built from, and nothing of the tests or examples', () => {
    expect(files).toEqual(
      expect.arrayContaining([
        'README.md',
        'LICENSE',
        'CHANGELOG.md',
        'package.json',
        'src/index.ts',
        'dist/src/index.js',
      ]),
    )
    expect(files.filter((path) => !/^(dist\/)?(src|adapters)\/|^[^/]+$/.test(path))).toEqual([])
  })

  it('has every source that its source maps name', () => {
    for (const path of files.filter((name) => name.endsWith('.map'))) {
      const { sources } = JSON.parse(readFileSync(path, 'utf8')) as { sources: string[] }
      for (const source of sources) expect(files).toContain(join(path, '..', source))
    }
  })
})

describe('In an empty project', () => {
  it('is imported and runs from JavaScript, without Hono', async () => {
    const output = await script(`
      import { Mongrel2Error, serveMongrel2 } from 'mongrel2-fetch'
      const server = serveMongrel2(() => new Response(), { zeromq: 'ipc://nobody-1,ipc://nobody-2' })
      console.log(server.stats().requests)
      await server.close()
      try {
        serveMongrel2(() => new Response(), { zeromq: 'nonsense' })
      } catch (error) {
        console.log(error instanceof Mongrel2Error, error.code)
      }
      console.log(await import('hono').catch((error) => error.code))
    `)
    expect(output).toBe('0\ntrue invalid_option\nERR_MODULE_NOT_FOUND\n')
  })

  it('does not open what it does not export', async () => {
    const output = await script(`
      console.log(await import('mongrel2-fetch/dist/src/serve.js').catch((error) => error.code))
    `)
    expect(output).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED\n')
  })

  it('works from JavaScript and type-checks from TypeScript with Hono', { timeout: INSTALL_TIMEOUT }, async () => {
    await install(`hono@${installedVersion('hono')}`, `@types/node@${installedVersion('@types/node')}`)

    const output = await script(`
      import { Hono } from 'hono'
      import { getConnInfo, mongrel2 } from 'mongrel2-fetch/hono'
      const app = new Hono().get('/', mongrel2(), (c) => c.json([c.var.mongrel2, getConnInfo(c).remote.address]))
      const response = await app.request('/', {}, { mongrel2: { remoteAddress: '192.0.2.1' } })
      console.log(await response.text())
      console.log((await app.request('/')).status)
    `)
    expect(output).toBe('[{"remoteAddress":"192.0.2.1"},"192.0.2.1"]\n501\n')

    writeFileSync(
      join(directory, 'app.ts'),
      `
      import { Hono } from 'hono'
      import { type Mongrel2Server, type Mongrel2Env, serveMongrel2 } from 'mongrel2-fetch'
      import { type Bindings, getConnInfo, mongrel2 } from 'mongrel2-fetch/hono'

      const app = new Hono<{ Bindings: Bindings }>()
      app.get('/', mongrel2(), (c) => {
        const pattern: string = c.var.mongrel2.pattern
        const size: number | undefined = c.env.mongrel2.upload?.size
        return c.json({ pattern, size, address: getConnInfo(c).remote.address })
      })
      const server: Mongrel2Server = serveMongrel2(app, { zeromq: 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998' })
      export const plain = serveMongrel2(
        async (request: Request, env: Mongrel2Env) => new Response(env.mongrel2.remoteAddress + (await request.text())),
        { zeromq: [{ sendSpec: 'ipc://a', recvSpec: 'ipc://b' }], uploads: { keep: true } },
      )
      await server.ready
      await server.close({ timeout: 1000 })
      // @ts-expect-error
      serveMongrel2(app, { zeromq: 1 })
      // @ts-expect-error
      server.nothing()
      `,
    )
    const options = ['--module', 'nodenext', '--target', 'es2023', '--types', 'node', '--strict', '--noEmit']
    const tsc = resolve('node_modules/typescript/bin/tsc')
    expect(await run(process.execPath, [tsc, ...options, '--exactOptionalPropertyTypes', 'app.ts'], directory)).toBe('')
  })
})

/** Runs a module in the project; what it printed. */
async function script(code: string): Promise<string> {
  const at = mkdtempSync(join(directory, 'script-'))
  writeFileSync(join(at, 'main.mjs'), code)
  return await run(process.execPath, ['main.mjs'], at)
}

async function install(...packages: string[]): Promise<void> {
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--save-exact', ...packages], directory)
}

function installedVersion(name: string): string {
  const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8')) as { version: string }
  return version
}

/** Runs a program to its end; what it printed. Its failure has both outputs. */
async function run(command: string, args: string[], cwd: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd })
    return stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`)
  }
}
