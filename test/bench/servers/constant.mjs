import { createServer } from 'node:net'
import { announce, options } from './child.mjs'

// The least that a server on Node's sockets does for a front server: it takes whatever it reads for one request, and writes the same answer.

process.umask(0) // nginx's worker is another user
const head = 'Status: 200 OK\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: 11\r\n\r\n'
const text = Buffer.from(`${head}Hello World`)

/** A record of FastCGI, of the first request of its connection. */
function record(type, content) {
  return Buffer.concat([Buffer.of(1, type, 0, 1, 0, content.length, 0, 0), content])
}

const STDOUT = 6
const END = 3
const answer = Buffer.concat([record(STDOUT, text), record(STDOUT, Buffer.alloc(0)), record(END, Buffer.alloc(8))])

createServer((socket) => {
  socket.on('error', () => {}) // `close` follows
  socket.on('data', () => {
    if (options.protocol === 'fastcgi') socket.write(answer)
    else socket.end(text)
  })
}).listen(options.socket, announce)
