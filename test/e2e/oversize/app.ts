import { upgradeWebSocket } from '../../../src/index.ts'

/** A WebSocket that says what it is told; any other request gets the size of its body. */
export default {
  async fetch(request: Request): Promise<Response> {
    if (request.headers.get('upgrade') === null) return new Response(String((await request.arrayBuffer()).byteLength))
    const { socket, response } = upgradeWebSocket(request)
    socket.onmessage = ({ data }) => socket.send(data)
    return response
  },
}
