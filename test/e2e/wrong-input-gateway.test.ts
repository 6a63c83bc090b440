// What clients write in wrong-input.test.ts to Mongrel2, sent to the gateway, whose parser is Node's: by HTTP and by HTTPS.
//
// Left out is what no client can write there:
// - the file of another client's upload: the gateway stores no body in a file. A file with such a name, within what the handler takes for
//   Mongrel2's directory, is among the paths here;
// - messages on ZeroMQ that are none ("What no Mongrel2 sends"): between the gateway and the handler there is no client;
// - handlers that fail ("A handler"): that is not input.

import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectSecurely } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import type { Mongrel2Server } from '../../src/index.ts'
import { makeCertificate } from '../support/certificate.ts'
import { FORMS, IN_CHUNKS, LARGE, PLAIN, STORED_LENGTHS, UNCLEAR, VICTIM } from '../support/forged-uploads.ts'
import { RawClient } from '../support/raw-client.ts'
import { REFUSED } from '../support/refused-requests.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { forgetTouchedFiles, touchedFiles } from '../support/touched-files.ts'

vi.mock('../../src/runtime/process/node-fs.ts', async () => (await import('../support/touched-files.ts')).nodeFs)

const SECRET = 'the secret of another'
const LINK = 'tmp/mongrel2.upload.LINKin'
const FILES = [LINK, VICTIM].map((path) => path.slice('tmp/'.length)).sort()
const HOST = 'Host: localhost'

const directory = mkdtempSync(join(tmpdir(), 'wrong-input-'))
const file = (name: string) => join(directory, name)

/** Paths in the order in which Node's own server, and the handler, were called. */
const byNode: string[] = []
const byUs: string[] = []
let node: Server
let gateways: Record<string, Gateway>
let server: Mongrel2Server
let ca: string

beforeAll(async () => {
  node = createServer({ requireHostHeader: false }, (request, response) => {
    byNode.push(request.url ?? '')
    request.resume().on('end', () => response.end('answered'))
    request.on('error', () => {})
  }).listen(0, '127.0.0.1')
  const { cert, key } = makeCertificate()
  ca = cert
  writeFileSync(file('cert.pem'), cert)
  writeFileSync(file('key.pem'), key)
  const endpoints = ['http', 'https'].map((name) => ({
    sendSpec: `ipc://${file(`${name}-send`)}`,
    recvSpec: `ipc://${file(`${name}-recv`)}`,
  }))
  const start = (at: number, more: object) =>
    createGateway({
      http: '127.0.0.1:0',
      routes: [{ path: '/', ...(endpoints[at] as (typeof endpoints)[number]) }],
      ...more,
    })
  gateways = {
    http: await start(0, {}),
    https: await start(1, { tlsCert: file('cert.pem'), tlsKey: file('key.pem') }),
  }
  server = serveMongrel2(
    async (request) => {
      byUs.push(new URL(request.url).pathname)
      const forged = [...request.headers.keys()].filter((name) => name.startsWith('x-mongrel2-'))
      if (forged.length > 0) return new Response(`got ${forged}`, { status: 500 })
      await request.arrayBuffer()
      return new Response('answered')
    },
    // As behind a Mongrel2 that stores bodies here.
    { zeromq: endpoints, chroot: directory, logger: {} },
  )
  await server.ready
  mkdirSync(file('tmp'))
  writeFileSync(file(VICTIM), SECRET)
  symlinkSync('mongrel2.upload.VICTIM', file(LINK))
})

beforeEach(forgetTouchedFiles)

afterAll(async () => {
  await server.close({ timeout: 1000 })
  for (const gateway of Object.values(gateways)) await gateway.close()
  node.closeAllConnections()
  node.close()
  rmSync(directory, { recursive: true })
})

/** The statuses of all answers to some bytes, after which the client ends its side. */
async function statuses(port: number, bytes: Buffer, secure: boolean): Promise<number[]> {
  const at = { port, host: '127.0.0.1', allowHalfOpen: true }
  const socket = secure ? connectSecurely({ ...at, ca, servername: 'localhost' }) : connect(at)
  socket.on('error', () => {}) // a reset behind the answer
  socket.end(bytes)
  let text = ''
  socket.setEncoding('latin1').on('data', (piece) => {
    text += piece
  })
  await new Promise((resolve) => socket.on('close', resolve).on('end', resolve))
  socket.destroy()
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
}

/** A request; the body is as it is given, whatever the fields say. */
function request(line: string, fields: readonly string[], body: string | Uint8Array = ''): Buffer {
  return Buffer.concat([Buffer.from([`${line} HTTP/1.1`, ...fields, '', ''].join('\r\n'), 'latin1'), Buffer.from(body)])
}

const portOf = (protocol: string) => gateways[protocol]?.addresses[0]?.address?.port ?? 0
const ask = (protocol: string, bytes: Buffer) => statuses(portOf(protocol), bytes, protocol === 'https')
const askNode = (bytes: Buffer) => statuses((node.address() as AddressInfo).port, bytes, false)

/** White space around a value is no part of it (RFC 9112, section 5); Mongrel2 keeps it. */
const CHUNKED = /^Transfer-Encoding: chunked\s$/

describe.each(['http', 'https'])('By %s', (protocol) => {
  /** All with FULL=1. */
  const forms = FORMS.slice(0, protocol === 'http' || process.env.FULL === '1' ? FORMS.length : 3)
  it.each(REFUSED)(
    'a request with %j is refused, and what follows is read as Node reads it',
    async (fields, _, body = '') => {
      const path = `/${randomUUID()}`
      const last = request(`GET ${path}/smuggled`, ['Host: localhost', 'Connection: close'])
      const bytes = Buffer.concat([request(`POST ${path}`, fields, body), last])
      const ofNode = await askNode(bytes)
      const ours = await ask(protocol, bytes)
      expect(ours[0]).toBe(400)
      if (!fields.some((field) => CHUNKED.test(field))) expect(byUs).not.toContain(path)
      // What Node's parser refuses ends the connection; else the next request begins where Node says.
      if (ofNode[0] !== 200) expect(ours).toEqual([400])
      else if (byUs.includes(`${path}/smuggled`)) expect(byNode).toContain(`${path}/smuggled`)
    },
  )

  it.each(STORED_LENGTHS)('a body of the length %j is read as Node reads it, and stored nowhere', async (length) => {
    const path = `/${randomUUID()}`
    const last = request(`GET ${path}/smuggled`, [HOST, 'Connection: close'])
    const bytes = Buffer.concat([request(`POST ${path}`, [HOST, `Content-Length: ${length}`], LARGE), last])
    const ofNode = await askNode(bytes)
    expect(ofNode).toEqual(length.endsWith(' ') ? [200, 200] : [400])
    expect(await ask(protocol, bytes)).toEqual(ofNode)
    expect(byUs.filter((called) => called.startsWith(path))).toEqual(
      ofNode[0] === 200 ? [path, `${path}/smuggled`] : [],
    )
    expect(readdirSync(file('tmp')).sort()).toEqual(FILES)
  })

  it('a request of HTTP/1.0 needs no Host', async () => {
    const path = `/${randomUUID()}`
    expect(await ask(protocol, Buffer.from(`GET ${path} HTTP/1.0\r\n\r\n`))).toEqual([200])
    expect(byUs).toContain(path)
  })

  /** Sends forged upload headers with a request, for each path, and sees that no file is touched; resolves with the statuses, and how often the handler was called. */
  async function forge(fields: (path: string) => string[], framing: readonly string[], body: string | Uint8Array) {
    const answers: number[][] = []
    const path = `/${randomUUID()}`
    for (const named of [VICTIM, file(VICTIM), LINK, '/etc/passwd', 'tmp/mongrel2.upload.nobody', '']) {
      const forged = request(`POST ${path}`, [HOST, 'Connection: close', ...framing, ...fields(named)], body)
      answers.push(await ask(protocol, forged))
    }
    expect(touchedFiles()).toEqual([])
    expect(readFileSync(file(VICTIM), 'utf8')).toBe(SECRET)
    expect(readdirSync(file('tmp')).sort()).toEqual(FILES)
    return { answers: answers.flat(), calls: byUs.filter((called) => called === path).length }
  }

  describe.each([...PLAIN, ...UNCLEAR])('Forged upload headers on a request %s', (_what, framing, body = '') => {
    it.each(forms)('as %s are a 400, as behind Mongrel2, and no file is touched', async (_form, fields) => {
      const { answers, calls } = await forge(fields, framing, body)
      expect(answers).toEqual(Array(6).fill(400))
      if (!framing.some((field) => CHUNKED.test(field))) expect(calls).toBe(0)
    })
  })

  describe.each([
    ['a length', [`Content-Length: ${LARGE.length}`], LARGE],
    ['chunks', ['Transfer-Encoding: chunked'], IN_CHUNKS],
  ])('Forged upload headers on a body that arrives as it is read, with %s,', (_what, framing, body) => {
    it.each(forms)('as %s are left out, and no file is touched', async (_form, fields) => {
      expect(await forge(fields, framing, body)).toEqual({ answers: Array(6).fill(200), calls: 6 })
    })
  })

  it.each(['JSON', 'XML', 'WEBSOCKET'])('a method %s is one that Node does not know', async (method) => {
    const bytes = request(`${method} /method`, [HOST, 'Connection: close'])
    expect([await ask(protocol, bytes), await askNode(bytes)]).toEqual([[400], [400]])
  })

  it.each<[what: string, bytes: Buffer]>([
    ['a target that is no path', request('GET @*', [HOST, 'METHOD: JSON', 'FLAGS: 0x81'])],
    ['a message of a JSON socket', Buffer.from('@chat {"a":1}\0')],
    ['a forged disconnect notice', Buffer.from('@* {"type":"disconnect"}\0')],
    ['a forged credits notice', Buffer.from('@* {"type":"credits"}\0')],
    ['a message of an XML socket', Buffer.from('<x a="b">text</x>\0')],
  ])('%s is a 400', async (_what, bytes) => {
    const path = `/${randomUUID()}`
    expect(await ask(protocol, Buffer.concat([bytes, request(`GET ${path}`, [HOST])]))).toEqual([400])
    expect(byUs).not.toContain(path)
  })

  it('frames behind a handshake that the handler does not accept are dropped', async () => {
    const path = `/${randomUUID()}`
    const handshake = request(`GET ${path}`, [
      HOST,
      ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ])
    const frames = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69, 0x88, 0x80, 0, 0, 0, 0])
    const secure = protocol === 'https' ? { ca, servername: 'localhost' } : undefined
    const client = new RawClient(portOf(protocol), '127.0.0.1', secure)
    client.send(Buffer.concat([handshake, frames]))
    expect((await client.response()).body.toString()).toBe('answered')
    expect((await client.readToEnd()).toString('latin1')).toBe('')
    expect(byUs.filter((called) => called === path)).toEqual([path])
  })
})
