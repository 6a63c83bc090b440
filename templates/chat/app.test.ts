import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { serveMongrel2 } from 'mongrel2-fetch'
import { createFront } from 'mongrel2-fetch/front'
import app from './app.ts'

test('the page is HTML', async () => {
  const response = await app.request('/')
  assert.equal(response.status, 200)
  assert.match(await response.text(), /<form id="form">/)
})

// Node.js has a WebSocket client since version 22.
const skip = typeof WebSocket === 'undefined'

test('what somebody says reaches everybody', { skip }, async () => {
  // A stand-in for Mongrel2, on a free port.
  const directory = mkdtempSync(join(tmpdir(), 'chat-'))
  const endpoint = { sendSpec: `ipc://${directory}/send`, recvSpec: `ipc://${directory}/recv` }
  const front = await createFront({ port: 0, routes: [{ path: '/', ...endpoint }], logger: {} })
  const server = serveMongrel2(app, { zeromq: endpoint, logger: {} })
  try {
    const sockets = ['first', 'second'].map(() => new WebSocket(`ws://127.0.0.1:${front.address.port}/chat`))
    await Promise.all(sockets.map((socket) => once(socket, 'open')))
    const messages = Promise.all(sockets.map((socket) => once(socket, 'message')))
    sockets[0]?.send('Hello')
    for (const [event] of await messages) assert.equal(event.data, 'Hello')
    for (const socket of sockets) socket.close()
  } finally {
    await server.close()
    await front.close()
    rmSync(directory, { recursive: true })
  }
})
