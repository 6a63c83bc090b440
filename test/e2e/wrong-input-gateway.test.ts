// What Mongrel2's parser lets through and the handler refuses, sent to the gateway, whose parser is Node's: by HTTP and by HTTPS.

import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectSecurely } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import type { Mongrel2Server } from '../../src/index.ts'
import { makeCertificate } from '../support/certificate.ts'
import { REFUSED } from '../support/refused-requests.ts'
import { serveMongrel2 } from '../support/serve.ts'

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
      await request.arrayBuffer()
      return new Response('answered')
    },
    { zeromq: endpoints },
  )
  await server.ready
})

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

/** White space around a value is no part of it (RFC 9112, section 5); Mongrel2 keeps it. */
const CHUNKED = /^Transfer-Encoding: chunked\s$/

describe.each(['http', 'https'])('By %s', (protocol) => {
  it.each(REFUSED)(
    'a request with %j is refused, and what follows is read as Node reads it',
    async (fields, _, body = '') => {
      const path = `/${randomUUID()}`
      const head = (line: string, more: readonly string[]) => [`${line} HTTP/1.1`, ...more, '', ''].join('\r\n')
      const last = head(`GET ${path}/smuggled`, ['Host: localhost', 'Connection: close'])
      const bytes = Buffer.from(head(`POST ${path}`, fields) + body + last, 'latin1')
      const ofNode = await statuses((node.address() as AddressInfo).port, bytes, false)
      const ours = await statuses(gateways[protocol]?.addresses[0]?.address?.port ?? 0, bytes, protocol === 'https')
      expect(ours[0]).toBe(400)
      if (!fields.some((field) => CHUNKED.test(field))) expect(byUs).not.toContain(path)
      // What Node's parser refuses ends the connection; else the next request begins where Node says.
      if (ofNode[0] !== 200) expect(ours).toEqual([400])
      else if (byUs.includes(`${path}/smuggled`)) expect(byNode).toContain(`${path}/smuggled`)
    },
  )
})
