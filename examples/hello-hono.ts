// A Hono app behind Mongrel2: HTML, text and JSON, from both Handlers of examples/mongrel2.conf.
// Start: npm start -- hello-hono. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/hello-hono.ts
// Look at: http://127.0.0.1:6767/, and its links: what Mongrel2 says about a request.

import { Hono } from 'hono'
import { html } from 'hono/html'
import { serveMongrel2 } from 'mongrel2-fetch'
import { type Bindings, getConnInfo, mongrel2 } from 'mongrel2-fetch/hono'

const app = new Hono<{ Bindings: Bindings }>()

app.get('/', (c) =>
  c.html(html`<!doctype html>
    <meta charset="utf-8">
    <title>Hello</title>
    <h1>Hello from Hono, through Mongrel2!</h1>
    <p>You are ${getConnInfo(c).remote.address}.
    <p><a href="/hello/world">A greeting</a>, and what Mongrel2 says about a request:
      <a href="/json">by the route /</a>, <a href="/tnet/json">by the route /tnet/</a>.`),
)

app.get('/hello/:name', (c) => c.text(`Hello, ${c.req.param('name')}!`))

app.on('GET', ['/json', '/tnet/json'], mongrel2(), (c) => c.json(c.var.mongrel2))

const server = serveMongrel2(app, {
  // The two Handlers of examples/mongrel2.conf.
  zeromq: [
    process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
    process.env.ZEROMQ_TNET ?? 'tcp://127.0.0.1:9997,tcp://127.0.0.1:9996',
  ],
  // The directory of Mongrel2, where it puts large bodies.
  chroot: process.env.CHROOT ?? '.',
})

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// What has come in is still answered; the process ends when that is done.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void server.close())
