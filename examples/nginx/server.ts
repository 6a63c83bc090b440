// nginx in front of Mongrel2: the app sees the client's address and the URL that it asked for, as nginx says them. A WebSocket passes too.
// Start: npm start -- nginx, which starts nginx, Mongrel2 and this app. By hand: Mongrel2 with examples/nginx/mongrel2.conf,
//   mkdir -p /tmp/nginx/tmp && nginx -p /tmp/nginx -c $PWD/examples/nginx/nginx.conf, and: npx tsx examples/nginx/server.ts
// Look at: http://127.0.0.1:8080/ (with npm start: port 6767), and at what each line of nginx.conf is for.

import { serveMongrel2, Topic, upgradeWebSocket } from 'mongrel2-fetch'

const clock = new Topic()
const timer = setInterval(() => clock.send(new Date().toISOString()), 1000)

const server = serveMongrel2(
  (request, env) => {
    const { pathname } = new URL(request.url)
    if (pathname === '/events') return clock.stream(request)
    if (request.headers.get('upgrade')?.toLowerCase() === 'websocket') {
      const { socket, response } = upgradeWebSocket(request)
      socket.onmessage = ({ data }) => socket.send(data)
      return response
    }
    // Without trustProxy these were nginx's address and the URL that nginx asked for.
    return Response.json({ url: request.url, client: env.mongrel2.remoteAddress })
  },
  {
    zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
    // The directory of Mongrel2, where it puts large bodies.
    chroot: process.env.CHROOT ?? '.',
    // One proxy: the last item of X-Forwarded-For, -Proto and -Host is believed, since nginx wrote it.
    trustProxy: 1,
  },
)

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// What has come in is still answered; the process ends when that is done.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    clearInterval(timer)
    void server.close()
  })
}
