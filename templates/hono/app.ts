import { Hono } from 'hono'
import { html } from 'hono/html'
import { type Bindings, getConnInfo } from 'mongrel2-fetch/hono'

const app = new Hono<{ Bindings: Bindings }>()

app.get('/', (c) =>
  c.html(html`<!doctype html>
    <meta charset="utf-8">
    <title>my-app</title>
    <h1>Hello from my-app</h1>
    <p>You are ${getConnInfo(c).remote.address}. <a href="/hello/you">A greeting as JSON</a>`),
)

app.get('/hello/:name', (c) => c.json({ hello: c.req.param('name') }))

export default app
