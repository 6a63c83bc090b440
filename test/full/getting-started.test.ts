// Does what docs/getting-started.md says, from an empty directory on: every command as it stands, but for the package, which is not
// taken from the registry, and the ports.

import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePorts } from '../support/free-port.ts'
import { Shell } from '../support/shell.ts'

/** The ports that the page writes: of browsers, `send_spec` and `recv_spec`. */
const PORTS = ['6767', '9999', '9998']
/** The user and group `nobody` of Linux: the commands are for an ordinary user. */
const NOBODY = 65_534

let directory: string
/** Of the project that the page makes. */
let app: string
let url: string
let blocks: string[]
const started: Shell[] = []

beforeAll(async () => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'getting-started-')))
  app = join(directory, 'my-app')
  const ports = await freePorts(PORTS.length)
  let page = readFileSync('docs/getting-started.md', 'utf8')
  for (const [at, port] of PORTS.entries()) page = page.replaceAll(port, `${ports[at]}`)
  url = `http://127.0.0.1:${ports[0]}`
  blocks = [...page.matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, code = '']) => code)
})

afterAll(async () => {
  for (const shell of started) await shell.stop()
  rmSync(directory, { recursive: true, force: true })
})

it('makes a project and shows its app by dev, with Node and npm alone, and a change of it', async () => {
  execFileSync('npm', ['pack', '--ignore-scripts', '--pack-destination', directory], { stdio: 'pipe' })
  const [install, code] = [block('npm install mongrel2-fetch'), block('export default app')]
  execFileSync('sh', ['-e', '-c', install.replace('mongrel2-fetch', '--prefer-offline ../*.tgz')], {
    cwd: directory,
    stdio: 'pipe',
  })
  writeFileSync(join(app, 'app.ts'), code)

  const dev = start(`${block('dev app.ts').trim()} --port ${new URL(url).port}`, app, { PATH: onlyNode() })
  await dev.prints(block('through the embedded front').trim())
  expect(await textOf('/')).toBe('Hello World')
  writeFileSync(join(app, 'app.ts'), code.replace('World', 'Mongrel2'))
  await expect.poll(() => textOf('/')).toBe('Hello Mongrel2')
  await dev.stop()
})

it('puts the same behind a Mongrel2 with the configuration that it explains, and files before it', async () => {
  execFileSync('sh', ['-e', '-c', block('mkdir -p mongrel2/run')], { cwd: app })
  for (const piece of ['app = Handler(', 'main = Server(', 'servers = [main]']) {
    appendFileSync(join(app, 'mongrel2/mongrel2.conf'), block(piece))
  }
  const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
  if (user.uid !== undefined) execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, directory])
  const mongrel2 = start(block('m2sh load'), app, { LOGNAME: 'test' }, user)
  const serve = start(block('serve app.ts').trim(), app)
  await Promise.race([serve.prints(block('mongrel2-fetch serves app.ts at tcp').trim()), mongrel2.ended])
  expect(await textOf('/')).toBe('Hello Mongrel2')

  execFileSync('sh', ['-e', '-c', block('echo ')], { cwd: app })
  const style = await fetch(`${url}/static/style.css`)
  expect(style.headers.get('content-type')).toBe('text/css')
  expect(await style.text()).toBe('body { color: green }\n')

  await serve.stop()
  const waiting = textOf('/')
  const again = start(block('serve app.ts').trim(), app)
  expect(await waiting).toBe('Hello Mongrel2')
  await again.stop()

  writeFileSync(join(app, 'server.ts'), block('serveMongrel2(app') + block('server.close()'))
  const program = start('exec node_modules/.bin/tsx server.ts', app)
  await program.prints('Attached to Mongrel2.')
  expect(await textOf('/')).toBe('Hello World')
  await program.stop()
})

/** The block of the page with this piece. */
function block(piece: string): string {
  const found = blocks.find((code) => code.includes(piece))
  if (found === undefined) throw new Error(`Expected a block with ${piece} on the page.`)
  return found
}

async function textOf(path: string): Promise<string> {
  return await (await fetch(url + path)).text()
}

/** A PATH with Node, npm and the shell that they need. */
function onlyNode(): string {
  const bin = join(directory, 'bin')
  mkdirSync(bin)
  for (const name of ['node', 'npm', 'npx']) symlinkSync(join(dirname(process.execPath), name), join(bin, name))
  for (const name of ['sh', 'env'])
    symlinkSync(execFileSync('which', [name], { encoding: 'utf8' }).trim(), join(bin, name))
  return bin
}

/** Commands in a terminal, which are stopped after the tests. */
function start(...args: ConstructorParameters<typeof Shell>): Shell {
  const shell = new Shell(...args)
  started.push(shell)
  return shell
}
