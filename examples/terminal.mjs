// A client of message sockets for a terminal, for the examples json-chat and bbs: sends each line that you type as JSON, and prints the
// text of each message that comes.
// Start: node examples/terminal.mjs @chat [PORT], or @bbs, while the example runs.

import { connect } from 'node:net'
import { createInterface } from 'node:readline'

const [route = '@chat', port = '6767'] = process.argv.slice(2)
const socket = connect(Number(port), '127.0.0.1')
/** Mongrel2 takes a message as a route, a JSON object and a zero byte, without HTTP. */
const send = (text) => socket.write(`${route} ${JSON.stringify({ text })}\0`)

socket.on('connect', () => {
  // The server learns of a client by its first message.
  send('')
  createInterface({ input: process.stdin })
    .on('line', send)
    .on('close', () => socket.end())
})

let received = ''
socket.setEncoding('utf8').on('data', (data) => {
  // The examples end their messages with a zero byte, too.
  const messages = (received + data).split('\0')
  received = messages.pop() ?? ''
  for (const message of messages) process.stdout.write(JSON.parse(message).text)
})
socket.on('error', (error) => console.error(error.message))
socket.on('close', () => process.exit())
