// The WebSocket clients of a server, in a process of their own: what they cost does not count as the server's. Told what to do by messages:
// `{ open: COUNT }` is answered when so many are open, `{ expect: TEXT }` at once and again when each has got that message and nothing
// else. Whatever goes wrong is told as `{ failure }`.

import { connect } from 'node:net'

/** Connections that are opened at once. */
const AT_ONCE = 100
const HANDSHAKE = [
  'GET /socket HTTP/1.1',
  'Host: localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n')
const TEXT = 0x81

const port = Number(process.argv[2])
const clients = []
let expected = Buffer.alloc(0)
let missing = 0

process.on('disconnect', () => process.exit()) // also when the benchmark is killed
process.on('message', ({ open, expect }) => {
  if (open !== undefined) openAll(open).then(() => say({ done: clients.length }), fail)
  else if (expect !== undefined) expectOfAll(expect)
})

function say(message) {
  process.send?.(message)
}

function fail(error) {
  say({ failure: String(error) })
}

async function openAll(count) {
  while (clients.length < count) {
    const more = Math.min(AT_ONCE, count - clients.length)
    clients.push(...(await Promise.all(Array.from({ length: more }, openOne))))
  }
}

function openOne() {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    socket.write(HANDSHAKE)
    let head = ''
    let got = Buffer.alloc(0)
    let open = false
    socket.on('error', reject)
    socket.on('close', () => fail('a client was disconnected'))
    socket.on('data', (bytes) => {
      if (open) got = check(Buffer.concat([got, bytes]))
      else {
        head += bytes.toString('latin1')
        open = head.startsWith('HTTP/1.1 101 ') && head.endsWith('\r\n\r\n')
        if (open) resolve(socket)
      }
    })
  })
}

function expectOfAll(text) {
  const payload = Buffer.from(text)
  expected = Buffer.concat([Buffer.from([TEXT, payload.length]), payload])
  missing = clients.length
  say({ done: missing })
}

/** What a client has got so far; returns what it is not through with. */
function check(got) {
  if (got.length < expected.length) return got
  if (missing === 0 || !got.equals(expected)) fail(`a client got ${JSON.stringify(got.toString('latin1'))}`)
  else if (--missing === 0) say({ done: clients.length })
  return Buffer.alloc(0)
}
