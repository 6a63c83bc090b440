import { serveMongrel2, Topic, upgradeWebSocket } from 'mongrel2-fetch'
import { announce, options } from './child.mjs'

const topic = new Topic()

/** `/socket` is a WebSocket, `/send?text=...` sends to all of them, and any path says how many there are. */
function handler(request) {
  const { pathname, searchParams } = new URL(request.url)
  if (pathname === '/send') topic.send(searchParams.get('text') ?? '')
  if (pathname !== '/socket') return new Response(String(topic.size))
  const { socket, response } = upgradeWebSocket(request)
  topic.add(socket)
  return response
}

const server = serveMongrel2(handler, options)
await server.ready
announce()
