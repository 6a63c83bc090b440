import { readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CommandRun } from '../support/command.ts'
import { INSTALL_TIMEOUT, UserProject } from '../support/user-project.ts'

const { version: VERSION } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }

let project: UserProject
let files: readonly string[]

beforeAll(async () => {
  project = await UserProject.create()
  files = project.files
}, INSTALL_TIMEOUT)

afterAll(() => {
  project[Symbol.dispose]()
})

describe('The packed package', () => {
  it('has what is built, what it was built from and the templates, and nothing of the tests or examples', () => {
    expect(files).toEqual(
      expect.arrayContaining([
        'README.md',
        'LICENSE',
        'CHANGELOG.md',
        'package.json',
        'src/index.ts',
        'dist/src/index.js',
        'templates/common/dot-gitignore',
        'templates/hono/app.ts',
      ]),
    )
    expect(
      files.filter((path) => !/^(dist\/)?(src|adapters)\/|^dist\/chunks\/|^templates\/|^[^/]+$/.test(path)),
    ).toEqual([])
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
    const output = await project.script(`
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

  it('has a front that runs with nothing else installed', async () => {
    const output = await project.script(`
      import { serveMongrel2 } from 'mongrel2-fetch'
      import { createFront } from 'mongrel2-fetch/front'
      import { createGateway, createFront as same } from 'mongrel2-fetch/gateway'
      import { createControl, renderMongrel2Config } from 'mongrel2-fetch/mongrel2'
      createControl('ipc://run/control').close()
      const handler = { sendSpec: 'ipc://s', recvSpec: 'ipc://r', sendIdent: 'app' }
      const hosts = [{ name: 'localhost', routes: { '/': handler } }]
      if (!renderMongrel2Config({ servers: [{ uuid: 'main', port: 1, hosts }] }).includes('servers = [server0]')) throw new Error('no server')
      if (createFront !== same) throw new Error('mongrel2-fetch/front is no alias')
      await (await createGateway({ uwsgi: './u', routes: [{ path: '/', sendSpec: 'ipc://s', recvSpec: 'ipc://r' }] })).close()
      const endpoint = { sendSpec: 'ipc://send', recvSpec: 'ipc://recv' }
      const front = await createFront({ port: 0, routes: [{ path: '/', ...endpoint }], logger: {} })
      const server = serveMongrel2(() => new Response('answered'), { zeromq: endpoint })
      console.log(await (await fetch('http://127.0.0.1:' + front.address.port)).text())
      await server.close()
      await front.close()
      for (const name of ['undici', 'node']) console.log(await import('mongrel2-fetch/' + name).catch((error) => error.code))
    `)
    expect(output).toBe('answered\nERR_MODULE_NOT_FOUND\nERR_MODULE_NOT_FOUND\n')
  })

  it('replaces the globals by an import before everything else', async () => {
    const output = await project.script(`
      const platform = Response
      await import('mongrel2-fetch/quick-objects')
      console.log(Response === platform, new Response('text') instanceof platform, await new Response('text').text())
    `)
    expect(output).toBe('false true text\n')
  })

  it('works from JavaScript and type-checks with undici and @hono/node-server', {
    timeout: INSTALL_TIMEOUT,
  }, async () => {
    await project.install('undici', '@hono/node-server', 'hono', '@types/node')
    const output = await project.script(`
      import { serveMongrel2 } from 'mongrel2-fetch'
      import { serveNode } from 'mongrel2-fetch/node'
      import { Mongrel2Dispatcher } from 'mongrel2-fetch/undici'
      import { fetch } from 'undici'
      const handler = () => new Response('answered')
      const zeromq = 'ipc://send,ipc://recv'
      const dispatcher = new Mongrel2Dispatcher({ zeromq })
      const server = serveMongrel2(handler, { zeromq })
      const node = await serveNode(handler, { port: 0 })
      console.log(await (await fetch('http://handler/', { dispatcher })).text())
      console.log(await (await fetch('http://127.0.0.1:' + node.address.port)).text())
      await Promise.all([server.close(), node.close()])
      await dispatcher.close()
    `)
    expect(output).toBe('answered\nanswered\n')

    project.write(
      'servers.ts',
      `
      import { Hono } from 'hono'
      import type { Mongrel2Env } from 'mongrel2-fetch'
      import { createFront, type Front, type FrontOptions } from 'mongrel2-fetch/front'
      import type { Bindings } from 'mongrel2-fetch/hono'
      import { type NodeServer, serveNode } from 'mongrel2-fetch/node'
      import { Mongrel2Dispatcher } from 'mongrel2-fetch/undici'
      import { fetch } from 'undici'

      const options: FrontOptions = { port: 0, routes: [{ path: '/', sendSpec: 'ipc://a', recvSpec: 'ipc://b' }], uploads: 'none' }
      export const front: Front = await createFront(options)
      const port: number = front.address.port
      const app = new Hono<{ Bindings: Bindings }>()
      export const servers: NodeServer[] = [await serveNode(app, { port }), await serveNode(() => new Response(), { port })]
      export const response = await fetch('http://x/', { dispatcher: new Mongrel2Dispatcher({ zeromq: 'ipc://a,ipc://b' }) })
      // @ts-expect-error such a handler needs Mongrel2
      await serveNode((_request: Request, env: Mongrel2Env) => new Response(env.mongrel2.remoteAddress), { port })
      // @ts-expect-error
      await createFront({ port, routes: [{ path: '/' }] })
      `,
    )
    await project.compile(['servers.ts'])
  })

  it('has the command, which names tsx where it needs it', async () => {
    expect(await project.npx('mongrel2-fetch', '--version')).toBe(`${VERSION}\n`)
    project.write('enum.ts', "enum Answer { text = 'x' }\nexport default () => new Response(Answer.text)")
    project.write('page.tsx', 'export default () => new Response(String(<p>x</p>))')
    const bin = join(project.directory, 'node_modules/.bin/mongrel2-fetch')
    for (const [file, language, ...args] of [
      ['enum.ts', 'TypeScript', 'serve', '--zeromq', 'ipc://a,ipc://b', '--log-level', 'warn'],
      ['page.tsx', 'JSX', 'fetch'],
    ]) {
      const run = new CommandRun([bin, ...args, file ?? ''], project.directory, {})
      expect(await run.ended).toBe(3)
      expect(run.stderr).toBe(
        `mongrel2-fetch: ${realpathSync(project.directory)}/${file} needs tsx, since Node ${process.versions.node} cannot run this ${language} by itself: npm install tsx\n`,
      )
    }
  })

  it("answers a browser within the README's sixty seconds, and shows a change", {
    timeout: INSTALL_TIMEOUT,
  }, async () => {
    await project.install('hono')
    const readme = readFileSync('README.md', 'utf8')
    for (const command of ['npm install mongrel2-fetch hono', 'npx mongrel2-fetch dev app.js'])
      expect(readme).toContain(`\n${command}\n`)
    const app = /(?<=^```js\n).*?(?=^```$)/ms.exec(readme)?.[0] ?? ''
    project.write('app.js', app)
    const bin = join(project.directory, 'node_modules/.bin/mongrel2-fetch')
    const run = new CommandRun([bin, 'dev', 'app.js', '--port', '0'], project.directory, {})
    try {
      const [url] = await run.prints(/(?<=serves app\.js at )\S+/)
      const page = async () => await (await fetch(url)).text()
      expect(await page()).toBe('Hello World')
      project.write('app.js', app.replace('World', 'Moon'))
      await expect.poll(page).toBe('Hello Moon')
    } finally {
      run.signal('SIGTERM')
      expect(await run.ended).toBe(0)
    }
  })

  it('does not open what it does not export', async () => {
    const output = await project.script(`
      console.log(await import('mongrel2-fetch/dist/src/serve.js').catch((error) => error.code))
    `)
    expect(output).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED\n')
  })

  it('works from JavaScript and type-checks from TypeScript with Hono', { timeout: INSTALL_TIMEOUT }, async () => {
    await project.install('hono', '@types/node')

    const output = await project.script(`
      import { Hono } from 'hono'
      import { getConnInfo, mongrel2 } from 'mongrel2-fetch/hono'
      const app = new Hono().get('/', mongrel2(), (c) => c.json([c.var.mongrel2, getConnInfo(c).remote.address]))
      const response = await app.request('/', {}, { mongrel2: { remoteAddress: '192.0.2.1' } })
      console.log(await response.text())
      console.log((await app.request('/')).status)
    `)
    expect(output).toBe('[{"remoteAddress":"192.0.2.1"},"192.0.2.1"]\n501\n')

    project.write(
      'app.ts',
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
    await project.compile(['app.ts'])
  })
})
