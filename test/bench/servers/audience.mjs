import { connect } from 'node:net'
import { options } from './child.mjs'

// The clients of a broadcast, in a process of their own: what they do does not count as the server's. They are asked by messages:
// `{ open }` opens so many, `{ expect }` waits until each has got a frame that says so; what goes wrong is told as `{ failure }`.

/** Connections that are opened at once. */
const AT_ONCE = 100
const { port } = options
const HANDSHAKE =
  'GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

const clients = []
let expected = Buffer.alloc(0)
let missing = 0

const say = (message) => process.send?.(message)

process.on('message', (message) => {
  if (typeof message !== 'object') return
  if ('open' in message) open(message.open).then(() => say({ opened: clients.length }), fail)
  else if ('expect' in message) expect(message.expect)
})

function fail(error) {
  say({ failure: String(error) })
}

async function open(count) {
  while (clients.length < count) {
    clients.push(...(await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - clients.length) }, openOne))))
  }
}

function openOne() {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(HANDSHAKE))
    const client = { socket, head: '', got: [], length: 0 }
    socket.on('error', reject)
    socket.on('close', () => fail(new Error('a client was disconnected')))
    socket.on('data', (bytes) => {
      if (client.head.endsWith('\r\n\r\n')) return take(client, bytes)
      client.head += bytes.toString('latin1')
      if (client.head.endsWith('\r\n\r\n')) resolve(client)
    })
  })
}

/** The next message that every client is to get, and nothing else. */
function expect(text) {
  const payload = Buffer.from(text)
  expected = Buffer.concat([Buffer.from([0x81, payload.length]), payload])
  missing = clients.length
  say({ expecting: missing })
}

function take(client, bytes) {
  client.got.push(bytes)
  client.length += bytes.length
  if (client.length < expected.length) return
  const got = client.got.length === 1 ? client.got[0] : Buffer.concat(client.got)
  client.got = []
  client.length = 0
  if (!got.equals(expected)) fail(new Error(`a client got ${JSON.stringify(got.toString('latin1'))}`))
  else if (--missing === 0) say({ arrived: clients.length })
}
