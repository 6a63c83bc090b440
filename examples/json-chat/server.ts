// A chat over message sockets: clients open a TCP connection to Mongrel2's port and send JSON, without HTTP.
// Start: npm start -- json-chat. By hand: Mongrel2 with examples/json-chat/mongrel2.conf, and: npx tsx examples/json-chat/server.ts
// Look at: two terminals with `node examples/terminal.mjs @chat`. The first line that you type is your name.

import { type MessageConnection, serveMongrel2, Topic } from 'mongrel2-fetch'

const LONGEST_NAME = 40
const MOST_PEOPLE = 1000

/** The names of those who have one. */
const people = new Map<MessageConnection, string>()
/** Each message is rendered once and goes out in one reply for up to 128 clients. A client that reads too slowly is closed. */
const everybody = new Topic()

/** A message ends with a zero byte, so that clients can tell two of them apart. */
const render = (text: string) => `${JSON.stringify({ text: `${text}\n` })}\0`

/** What a client sends is not trusted: undefined unless it is `{ "text": "..." }`. */
function textOf(data: unknown): string | undefined {
  if (typeof data !== 'object' || data === null || !('text' in data)) return undefined
  // Control characters would reach the terminals of others.
  return typeof data.text === 'string' ? data.text.replace(/\p{Cc}/gu, '').trim() : undefined
}

function join(connection: MessageConnection, name: string): void {
  const others = [...people.values()]
  if (name === '' || name.length > LONGEST_NAME)
    connection.send(render(`What is your name? (1 to ${LONGEST_NAME} letters)`))
  else if (others.includes(name)) connection.send(render(`${name} is here already. What is your name?`))
  else if (others.length >= MOST_PEOPLE) connection.send(render('The room is full. Try again later.'))
  else {
    connection.send(render(`Hello, ${name}. Here are: ${others.join(', ') || 'nobody else'}.`))
    people.set(connection, name)
    everybody.send(render(`${name} joins.`))
    everybody.add(connection)
  }
}

const server = serveMongrel2(() => new Response('Chat with: node examples/terminal.mjs @chat\n'), {
  zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
  messages: {
    rawPayload: true,
    json({ data }, connection) {
      const text = textOf(data)
      const name = people.get(connection)
      if (text === undefined) connection.close()
      else if (name === undefined) join(connection, text)
      else if (text !== '') everybody.send(render(`${name}: ${text}`))
    },
    close(connection) {
      const name = people.get(connection)
      if (name === undefined) return
      people.delete(connection)
      everybody.send(render(`${name} leaves.`))
    },
  },
})

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// What has come in is still answered, and connections are closed; then the process ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void server.close())
