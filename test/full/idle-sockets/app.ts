import { Topic, upgradeWebSocket } from '../../../src/index.ts'

const everybody = new Topic()

/** A WebSocket; any other request has something sent to all of them, and says how many there are. */
export default {
  fetch(request: Request): Response {
    if (request.headers.get('upgrade')?.toLowerCase() === 'websocket') {
      const { socket, response } = upgradeWebSocket(request)
      everybody.add(socket)
      return response
    }
    everybody.send('still here')
    return new Response(String(everybody.size))
  },
}
