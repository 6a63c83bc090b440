// One ticking event stream to any number of clients: each tick is rendered once, and Mongrel2 hands it to up to 128 of them at a time.
// Start: npm start -- clock-sse. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/clock-sse.ts
// Look at: http://127.0.0.1:6767/ in several browsers, or: curl -N http://127.0.0.1:6767/ticks

import { serveMongrel2, Topic } from 'mongrel2-fetch'

const clock = new Topic()

const server = serveMongrel2(
  (request) => {
    const { pathname } = new URL(request.url)
    if (pathname === '/ticks') return clock.stream(request)
    if (pathname === '/') return new Response(PAGE, { headers: { 'content-type': 'text/html; charset=utf-8' } })
    return new Response('Not Found\n', { status: 404 })
  },
  {
    zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
    // The directory of Mongrel2, where it puts large bodies.
    chroot: process.env.CHROOT ?? '.',
  },
)

const timer = setInterval(() => {
  const now = new Date().toISOString()
  clock.send(JSON.stringify({ now, clients: clock.size }), { event: 'tick', id: now })
}, 1000)

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// What has come in is still answered and the streams are ended; the process ends when that is done.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    clearInterval(timer)
    void server.close()
  })
}

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>A clock</title>
<style>
  :root { color-scheme: light dark }
  body { display: grid; place-content: center; min-height: 90vh; font: 1rem/1.5 system-ui, sans-serif; text-align: center }
  time { font-size: 4rem; font-variant-numeric: tabular-nums }
</style>
<time>--:--:--</time>
<p id="clients">Waiting for the first tick.</p>
<script>
  // Mongrel2 may be restarted, and the app: the browser comes back by itself.
  const ticks = new EventSource('/ticks')
  ticks.addEventListener('tick', ({ data }) => {
    const { now, clients } = JSON.parse(data)
    document.querySelector('time').textContent = new Date(now).toLocaleTimeString()
    document.querySelector('#clients').textContent = clients === 1 ? 'You are alone.' : clients + ' pages see this.'
  })
</script>
</html>
`
