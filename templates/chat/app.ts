import { readFileSync } from 'node:fs'
import { Hono } from 'hono'
import { Topic } from 'mongrel2-fetch'
import { upgradeWebSocket } from 'mongrel2-fetch/hono'

const LONGEST_TEXT = 2000

const page = readFileSync(new URL('page.html', import.meta.url), 'utf8')
// The name makes it one topic in all worker processes. Clients that read too slowly miss messages.
const room = new Topic({ name: 'room', whenSlow: 'drop' })

const app = new Hono()

app.get('/', (c) => c.html(page))

app.get(
  '/chat',
  upgradeWebSocket(
    () => ({
      onOpen(_event, ws) {
        if (ws.raw !== undefined) room.add(ws.raw)
      },
      onMessage({ data }) {
        room.send(String(data).slice(0, LONGEST_TEXT))
      },
    }),
    // Clients that have vanished are closed after a minute.
    { idleTimeout: 60_000, maxPayload: 16 * 1024 },
  ),
)

export default app
