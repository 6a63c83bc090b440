// A BBS, a message board for terminals, over message sockets. Each client's session is a generator: it yields what to print and gets
// the next line that the client types.
// Start: npm start -- bbs. By hand: Mongrel2 with examples/bbs/mongrel2.conf, and: npx tsx examples/bbs/server.ts
// Look at: node examples/terminal.mjs @bbs

import { type MessageConnection, serveMongrel2 } from 'mongrel2-fetch'

const MOST_POSTS = 100
const LONGEST_LINE = 200
const MOST_LINES = 20

interface Post {
  readonly by: string
  readonly title: string
  readonly text: string
}

const posts: Post[] = []

/** Yields what to print, is given the next line, and returns the last words. */
type Session = Generator<string, string, string>

function* session(): Session {
  const name = yield* ask('Welcome to the board.\nYour name: ')
  for (;;) {
    const choice = yield `\n[L]ist  [R]ead  [P]ost  [Q]uit, ${name}? `
    switch (choice.toLowerCase()) {
      case 'l':
        yield* print(
          posts.map(({ by, title }, n) => `${n + 1}. ${title} (${by})`).join('\n') || 'There is nothing yet.',
        )
        break
      case 'r':
        yield* read()
        break
      case 'p':
        yield* write(name)
        break
      case 'q':
        return `Goodbye, ${name}.\n`
    }
  }
}

function* read(): Generator<string, void, string> {
  const post = posts[Number(yield* ask('Number: ')) - 1]
  yield* print(post === undefined ? 'There is no such post.' : `${post.title}, by ${post.by}\n\n${post.text}`)
}

function* write(by: string): Generator<string, void, string> {
  const title = yield* ask('Title: ')
  const lines: string[] = []
  let line = yield 'Text, ended by an empty line:\n'
  while (line !== '' && lines.length < MOST_LINES) {
    lines.push(line)
    line = yield ''
  }
  posts.push({ by, title, text: lines.join('\n') })
  if (posts.length > MOST_POSTS) posts.shift()
  yield* print('Posted.')
}

/** Asks until the answer is not empty. */
function* ask(question: string): Generator<string, string, string> {
  let answer = ''
  while (answer === '') answer = yield question
  return answer
}

function* print(text: string): Generator<string, void, string> {
  yield `${text}\n(Enter) `
}

/** The sessions of those who are connected. */
const sessions = new Map<MessageConnection, Session>()

const server = serveMongrel2(() => new Response('The board is at: node examples/terminal.mjs @bbs\n'), {
  zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
  messages: {
    rawPayload: true,
    open(connection) {
      sessions.set(connection, session())
    },
    json({ data }, connection) {
      const { text } = data as { text?: unknown }
      // The first line is not used: it starts the session. Control characters would reach the terminals of others.
      const line =
        typeof text === 'string'
          ? text
              .replace(/\p{Cc}/gu, '')
              .trim()
              .slice(0, LONGEST_LINE)
          : ''
      const step = sessions.get(connection)?.next(line)
      if (step === undefined) return
      connection.send(`${JSON.stringify({ text: step.value })}\0`)
      if (step.done) connection.close()
    },
    close(connection) {
      sessions.delete(connection)
    },
  },
})

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// What has come in is still answered, and connections are closed; then the process ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void server.close())
