import { existsSync, readFileSync } from 'node:fs'
import { connect } from 'node:http2'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { makeCertificate, type TestCertificate } from '../support/certificate.ts'
import { type CommandRun, Workplace } from '../support/command.ts'
import { freePort } from '../support/free-port.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'

const appOf = (name: string) =>
  `export default async () => {
  await new Promise((resolve) => setTimeout(resolve, 100))
  return new Response('${name} ' + process.pid)
}`

let main: Workplace
let node: Workplace
let mongrel2: Mongrel2

beforeEach(async () => {
  main = new Workplace({ 'app.ts': appOf('main') })
  node = new Workplace({ 'app.ts': appOf('node') })
  mongrel2 = await startMongrel2({ tcp: true })
})

afterEach(async () => {
  await node[Symbol.asyncDispose]()
  await main[Symbol.asyncDispose]()
  await mongrel2.stop()
})

async function keygen(place: Workplace, ...args: string[]): Promise<string> {
  const run = place.run(['keygen', ...args])
  expect(await run.ended).toBe(0)
  return run.stdout.trim()
}

/** Who answers eight clients that ask at once. */
async function answers(): Promise<string[]> {
  const headers = { connection: 'close' } // a kept connection stays with its worker
  const ask = async () => await (await fetch(`http://127.0.0.1:${mongrel2.port}/`, { headers })).text()
  const all = await Promise.all(Array.from({ length: 8 }, ask))
  return [...new Set(all.map((text) => text.split(' ')[0] ?? ''))].sort()
}

function serve(place: Workplace, ...args: string[]): CommandRun {
  return place.run(['serve', ...args])
}

it('a machine joins by address and keys alone, with the app of its own directory', async () => {
  const [mainKey, nodeKey] = [await keygen(main), await keygen(node)]
  const port = await freePort()
  const zeromq = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory]
  const address = ['--cluster', `tcp://127.0.0.1:${port}`, '--cluster-nodes', nodeKey]
  const mainRun = serve(main, 'app.ts', ...zeromq, ...address)
  await mainRun.prints(/^mongrel2-fetch serves app.ts .* by 1 worker process, and by nodes that join at/m)
  const join = `tcp://${mainKey}@127.0.0.1:${port}`
  expect(mainRun.stderr).toContain(`serve --cluster tcp://${mainKey}@`)

  const nodeRun = serve(node, '--cluster', join)
  await nodeRun.prints(/^mongrel2-fetch serves as a node of tcp:/m)
  expect(nodeRun.stdout).not.toContain(mainKey)
  await expect.poll(answers).toEqual(['main', 'node'])

  nodeRun.signal('SIGTERM')
  expect(await nodeRun.ended).toBe(0)
  expect(await answers()).toEqual(['main'])
  mainRun.signal('SIGTERM')
  expect(await mainRun.ended).toBe(0)
  expect(mainRun.stderr).toMatch(/node \S+ left/)
})

it('a gateway is served beside the cluster by the machine that has it', async () => {
  const port = await freePort()
  const zeromq = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory]
  const mainRun = serve(main, 'app.ts', ...zeromq, '--cluster', `tcp://127.0.0.1:${port}`, '--http', '127.0.0.1:0')
  const [, url = ''] = await mainRun.prints(/^mongrel2-fetch serves app.ts at .* and (http:\S+\/) by 1 worker process/m)
  const nodeRun = serve(node, '--cluster', `tcp://127.0.0.1:${port}`)
  await nodeRun.prints(/^mongrel2-fetch serves as a node of tcp:/m)
  await expect.poll(answers).toEqual(['main', 'node'])
  const texts = await Promise.all(Array.from({ length: 8 }, async () => await (await fetch(url)).text()))
  expect(new Set(texts.map((text) => text.split(' ')[0]))).toEqual(new Set(['main']))
  nodeRun.signal('SIGTERM')
  expect(await nodeRun.ended).toBe(0)
  expect(await answers()).toEqual(['main'])
})

it('the main node records what nodes answer', async () => {
  const port = await freePort()
  const zeromq = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory]
  const record = ['--record', 'requests.jsonl', '--record-every', '1']
  const mainRun = serve(main, 'app.ts', ...zeromq, '--cluster', `tcp://127.0.0.1:${port}`, ...record)
  await mainRun.prints(/^mongrel2-fetch serves/m)
  const nodeRun = serve(node, '--cluster', `tcp://127.0.0.1:${port}`)
  await nodeRun.prints(/^mongrel2-fetch serves as a node of tcp:/m)
  await expect.poll(answers).toEqual(['main', 'node'])
  const recorded = () => readFileSync(join(main.directory, 'requests.jsonl'), 'utf8')
  await expect.poll(recorded).toMatch(/"text":"node \d+"/)
  expect(recorded()).toMatch(/"text":"main \d+"/)
  for (const run of [nodeRun, mainRun]) {
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
  }
  expect(existsSync(join(node.directory, 'requests.jsonl'))).toBe(false)

  // What the node answered is there to be compared.
  main.write('app.ts', "export default () => new Response('other')")
  const replayed = main.run(['replay', 'requests.jsonl', 'app.ts', '--check'])
  expect(await replayed.ended).toBe(1)
  expect(replayed.stdout).toMatch(/^GET \/: body: expected "node \d+", got "other"$/m)
})

const long = it.runIf(process.env.FULL === '1')

long('a gateway beside the cluster speaks TLS, and gets a new certificate with the reload of all nodes', async () => {
  const certificates = [makeCertificate(), makeCertificate()]
  const use = ({ cert, key }: TestCertificate) => {
    main.write('cert.pem', cert)
    main.write('key.pem', key)
  }
  use(certificates[0] as TestCertificate)
  const tls = ['--http', '127.0.0.1:0', '--tls-cert', 'cert.pem', '--tls-key', 'key.pem']
  const port = await freePort()
  const zeromq = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory]
  const mainRun = serve(main, 'app.ts', ...zeromq, '--cluster', `tcp://127.0.0.1:${port}`, ...tls)
  const [, at] = await mainRun.prints(/^mongrel2-fetch serves app.ts at .* and https:\S+:(\d+)\/ by 1 worker process/m)
  const nodeRun = serve(node, '--cluster', `tcp://127.0.0.1:${port}`)
  await nodeRun.prints(/^mongrel2-fetch serves as a node of tcp:/m)
  await expect.poll(answers).toEqual(['main', 'node'])
  /** What answers by HTTP/2 to a client that trusts a certificate. */
  const ask = async ({ cert }: TestCertificate): Promise<string> => {
    const session = connect(`https://localhost:${at}`, { ca: cert }).on('error', () => {}) // the stream has it, too
    try {
      return await text(session.request({ ':path': '/' }))
    } finally {
      session.destroy()
    }
  }
  const [before, after] = certificates as [TestCertificate, TestCertificate]
  const first = await ask(before)
  expect(first).toMatch(/^main /)
  use(after)
  mainRun.signal('SIGHUP')
  await mainRun.prints(/has replaced its workers/)
  const second = await ask(after)
  expect([second.slice(0, 5), second === first]).toEqual(['main ', false])
  await expect(ask(before)).rejects.toThrow(/self.signed certificate/)
  expect(await answers()).toEqual(['main', 'node'])

  const refused = serve(node, '--cluster', `tcp://127.0.0.1:${port}`, ...tls)
  expect(await refused.ended).toBe(2)
  expect(refused.stderr).toMatch(/^mongrel2-fetch: --\S+ cannot be used without an app: the main node sets it/m)
})

it('keygen prints the public key, and does not write over a file', async () => {
  const key = await keygen(main, 'my.key')
  expect(key).toMatch(/^[0-9a-f]{64}$/)
  const again = main.run(['keygen', 'my.key'])
  expect(await again.ended).toBe(2)
  expect(again.stderr).toMatch(/^mongrel2-fetch: my.key already exists/)
  expect(again.stdout).toBe('')
})

it('a node runs no file outside of its directory, whatever the main node says', async () => {
  const port = await freePort()
  await using outside = new Workplace({ 'evil.mjs': appOf('evil') })
  const zeromq = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory]
  const mainRun = serve(main, join(outside.directory, 'evil.mjs'), ...zeromq, '--cluster', `tcp://127.0.0.1:${port}`)
  await mainRun.prints(/^mongrel2-fetch serves/m)
  serve(node, '--cluster', `tcp://127.0.0.1:${port}`)
  await mainRun.prints(
    /lost worker \d+ on 127\.0\.0\.1:\d+: the main node names \S+evil\.mjs, which is not below this node's/,
  )
})

it('an app that a node does not have is said to be missing, and the main node serves on', async () => {
  const port = await freePort()
  const zeromq = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory]
  const mainRun = serve(main, 'app.ts', ...zeromq, '--cluster', `tcp://127.0.0.1:${port}`)
  await mainRun.prints(/^mongrel2-fetch serves/m)
  await using empty = new Workplace()
  serve(empty, '--cluster', `tcp://127.0.0.1:${port}`)
  await mainRun.prints(/lost worker \d+ on 127\.0\.0\.1:\d+: there is no file \S+app\.ts/)
  expect(await answers()).toEqual(['main'])
})
