// A chat by WebSockets in Hono: rooms, who is there, and what was said before one came or while one was away.
// Start: npm start -- chat. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/chat/server.ts
// Look at: http://127.0.0.1:6767/ in two browsers. Stop the server and start it again: the pages come back by themselves.

import { readFile } from 'node:fs/promises'
import { Hono } from 'hono'
import { secureHeaders } from 'hono/secure-headers'
import { serveMongrel2, Topic } from 'mongrel2-fetch'
import { upgradeWebSocket } from 'mongrel2-fetch/hono'
import { type Member, Room, type Saying } from './room.ts'

const MOST_ROOMS = 100
/** Longest names of people and rooms, and longest text, in UTF-16 code units as everywhere in JavaScript. */
const LONGEST_NAME = 40
const LONGEST_TEXT = 2000
/** Close codes of our own: it is not to be tried again, or later. */
const REFUSED = 4000
const FULL = 4001
/** How often pages are told that they are still connected, in milliseconds: a browser may not notice that it is not. */
const HEARTBEAT = 20_000

/** Those used last are the last. */
const rooms = new Map<string, Room>()
const everybody = new Topic()

const app = new Hono()

app.use(secureHeaders({ contentSecurityPolicy: { defaultSrc: ["'self'"] } }))

for (const [path, file, type] of [
  ['/', 'page.html', 'text/html'],
  ['/page.css', 'page.css', 'text/css'],
  ['/page.js', 'page.js', 'text/javascript'],
  ['/connection.js', 'connection.js', 'text/javascript'],
  ['/icon.svg', 'icon.svg', 'image/svg+xml'],
] as const) {
  const content = await readFile(new URL(file, import.meta.url), 'utf8')
  app.get(path, (c) => c.body(content, 200, { 'content-type': `${type}; charset=utf-8` }))
}

app.get('/rooms', (c) => c.json(Array.from(rooms, ([name, { people }]) => ({ name, people: people.length }))))

app.get(
  '/rooms/:room',
  upgradeWebSocket(
    (c) => {
      const { client = '', name = '', since } = c.req.query()
      const roomName = c.req.param('room') ?? ''
      const isValid = [client, name, roomName].every((text) => text.trim() !== '' && text.length <= LONGEST_NAME)
      let room: Room | undefined
      let member: Member | undefined
      return {
        onOpen(_event, ws) {
          if (!isValid) return ws.close(REFUSED, `Names have 1 to ${LONGEST_NAME} characters.`)
          room = openRoom(roomName)
          if (room === undefined || ws.raw === undefined) return ws.close(FULL, 'There are too many rooms.')
          member = { client, name, socket: ws.raw }
          room.join(member, since)
          everybody.add(ws.raw)
        },
        onMessage({ data }, ws) {
          const saying = parseSaying(data)
          if (saying === undefined) ws.close(REFUSED, `Messages have 1 to ${LONGEST_TEXT} characters.`)
          else if (member !== undefined) room?.say(member, saying)
        },
        onClose() {
          if (member !== undefined) room?.leave(member)
        },
      }
    },
    // Who has vanished without a word is not shown for longer than that.
    { idleTimeout: 60_000, maxPayload: 16 * 1024 },
  ),
)

/** The room of that name; undefined when there are too many, all with somebody in them. */
function openRoom(name: string): Room | undefined {
  let room = rooms.get(name)
  if (room === undefined && rooms.size >= MOST_ROOMS) {
    const empty = [...rooms].find(([, { people }]) => people.length === 0)
    if (empty === undefined) return undefined
    rooms.delete(empty[0])
  }
  room ??= new Room()
  rooms.delete(name)
  rooms.set(name, room)
  return room
}

/** Whatever a page may send: undefined unless it is something to say. */
function parseSaying(data: unknown): Saying | undefined {
  let value: unknown
  try {
    value = JSON.parse(String(data))
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || !('id' in value) || !('text' in value)) return undefined
  const { id, text } = value
  if (typeof id !== 'string' || id === '' || id.length > LONGEST_NAME) return undefined
  if (typeof text !== 'string' || text.trim() === '' || text.length > LONGEST_TEXT) return undefined
  return { id, text }
}

const server = serveMongrel2(app, {
  zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
  // The directory of Mongrel2, where it puts large bodies.
  chroot: process.env.CHROOT ?? '.',
})

const timer = setInterval(() => everybody.send('{"type":"alive"}'), HEARTBEAT)

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// The pages are told, and look for the server's successor; the process ends when they have heard it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    clearInterval(timer)
    void server.close()
  })
}
