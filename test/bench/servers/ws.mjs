import { once } from 'node:events'
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { announce } from './child.mjs'

const sockets = new WebSocketServer({ noServer: true })

/** `/socket` is a WebSocket, `/send?text=...` sends to all of them, and any path says how many there are. */
const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
  if (pathname === '/send') {
    // As its README broadcasts.
    for (const client of sockets.clients) {
      if (client.readyState === client.OPEN) client.send(searchParams.get('text') ?? '')
    }
  }
  response.end(String(sockets.clients.size))
})
server.on('upgrade', (request, socket, head) => sockets.handleUpgrade(request, socket, head, () => {}))
server.listen(0, '127.0.0.1')
await once(server, 'listening')
announce(server.address().port)
