import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { serveStatic } from '@hono/node-server/serve-static'
import { Hono } from 'hono'
import { basicAuth } from 'hono/basic-auth'
import { bodyLimit } from 'hono/body-limit'
import { compress } from 'hono/compress'
import { getSignedCookie, setSignedCookie } from 'hono/cookie'
import { cors } from 'hono/cors'
import { etag } from 'hono/etag'
import { HTTPException } from 'hono/http-exception'
import type { PropsWithChildren } from 'hono/jsx'
import { renderToReadableStream, Suspense } from 'hono/jsx/streaming'
import { jsxRenderer } from 'hono/jsx-renderer'
import { logger } from 'hono/logger'
import { prettyJSON } from 'hono/pretty-json'
import { proxy } from 'hono/proxy'
import { secureHeaders } from 'hono/secure-headers'
import { stream, streamSSE, streamText } from 'hono/streaming'
import { timeout } from 'hono/timeout'
import { validator } from 'hono/validator'

// An app as people write them for @hono/node-server, but for its last line, which would be `serve(app)`.

const publicDirectory = fileURLToPath(new URL('public', import.meta.url))
const secret = 'a secret for cookies'
const lines: string[] = []

const app = new Hono()

app.use(logger((line, ...rest) => void lines.push([line, ...rest].join(' '))))
app.use(compress())
app.get('/log', (c) => c.json(lines))

// Static files
app.use('/static/*', etag())
app.use(
  '/static/*',
  serveStatic({
    root: publicDirectory,
    rewriteRequestPath: (path) => path.replace(/^\/static/, ''),
    precompressed: true,
  }),
)
app.get('/lock', serveStatic({ path: 'package-lock.json' }))
app.get('/license', serveStatic({ path: 'LICENSE', onFound: (_path, c) => c.header('cache-control', 'max-age=60') }))

// Pages
const Layout = ({ title, children }: PropsWithChildren<{ title: string }>) => (
  <html lang="en">
    <head>
      <title>{title}</title>
    </head>
    <body>{children}</body>
  </html>
)

const Late = async ({ text }: { text: string }) => {
  await sleep(10)
  return <p>{text}</p>
}

app.use(
  '/pages/*',
  jsxRenderer(({ children }) => <Layout title="page">{children}</Layout>),
)
app.get('/pages/hello', (c) => c.render(<h1>Hello {c.req.query('name') ?? 'you'}</h1>))
app.get('/pages/list', (c) =>
  c.render(
    <ul>
      {['ü', '<b>', '&'].map((item) => (
        <li class="item">{item}</li>
      ))}
    </ul>,
  ),
)
app.get('/late', (c) => {
  const page = renderToReadableStream(
    <Layout title="late">
      <Suspense fallback={<p>wait</p>}>
        <Late text="here it is" />
      </Suspense>
    </Layout>,
  )
  return c.body(page, { headers: { 'Content-Type': 'text/html; charset=UTF-8', 'Transfer-Encoding': 'chunked' } })
})

// An interface for programs
const api = new Hono().basePath('/api')
api.use(cors({ origin: ['http://a.example'], allowMethods: ['GET', 'PUT'], credentials: true }))
api.use(secureHeaders())
api.get('/items', prettyJSON(), (c) => c.json({ items: [1, 2, 3] }))
api.put(
  '/items/:id',
  validator('json', (value, c) => (typeof value.name === 'string' ? value : c.json({ error: 'no name' }, 400))),
  (c) => c.json({ id: c.req.param('id'), ...c.req.valid('json') }),
)
api.get('/slow', timeout(20), async (c) => {
  await sleep(1000)
  return c.text('too late')
})
app.route('/', api)

// Bodies
app.post('/echo', async (c) => {
  c.header('x-method', c.req.method)
  c.header('content-type', c.req.header('content-type') ?? 'application/octet-stream')
  return c.body(await c.req.arrayBuffer())
})
app.post('/form', async (c) => {
  const { name, file } = await c.req.parseBody()
  return c.json({
    name,
    file: file instanceof File ? [file.name, file.type, file.size, (await file.text()).at(-1)] : file,
  })
})
app.post('/limited', bodyLimit({ maxSize: 50_000, onError: (c) => c.text('too much', 413) }), async (c) => {
  return c.text(String((await c.req.text()).length))
})
app.all('/proxy/*', (c) => {
  const { origin, pathname, search } = new URL(c.req.url)
  // Not Mongrel2: the platform's fetch sends a stream's given length and chunks together, which is refused there.
  return proxy(`${process.env.BACKEND ?? origin}${pathname.slice('/proxy'.length)}${search}`, c.req)
})

// Streams
let release = () => {}
const released = () =>
  new Promise<void>((resolve) => {
    release = resolve
  })
let aborted = 0
app.get('/stream/held', (c) =>
  streamText(c, async (out) => {
    const end = released()
    await out.write('first ')
    await end
    await out.write('last')
  }),
)
app.post('/stream/release', (c) => {
  release()
  return c.body(null, 204)
})
app.get('/stream/endless', (c) => {
  c.header('content-type', 'application/octet-stream')
  return stream(c, async (out) => {
    out.onAbort(() => {
      aborted++
    })
    while (!out.aborted) {
      await out.write('endless '.repeat(1000))
      await out.sleep(5)
    }
  })
})
app.get('/stream/aborted', (c) => c.json(aborted))
app.get('/stream/events', (c) =>
  streamSSE(c, async (out) => {
    for (const id of ['1', '2', '3']) {
      await out.writeSSE({ id, event: 'count', data: `number ${id}\nof 3` })
      await out.sleep(5)
    }
  }),
)
app.get('/stream/piped', (c) => {
  c.header('content-type', 'text/x-piped')
  return stream(c, async (out) => {
    await out.write(new Uint8Array([112, 105, 112, 101, 58, 32]))
    await out.pipe(new Blob(['from a Blob']).stream())
  })
})

// Who is there
app.use('/private/*', basicAuth({ username: 'user', password: 'pass', realm: 'drop-in' }))
app.get('/private/page', (c) => c.text('for the user only'))
app.get('/visit', async (c) => {
  const visits = Number((await getSignedCookie(c, secret, 'visits')) || 0) + 1
  await setSignedCookie(c, 'visits', String(visits), secret, { path: '/', httpOnly: true })
  await setSignedCookie(c, 'last', 'now', secret)
  return c.text(`visit ${visits}`)
})

// What goes wrong
app.get('/teapot', () => {
  throw new HTTPException(418, { message: 'short and stout' })
})
app.get('/broken', () => {
  throw new Error('broken')
})
app.get('/moved', (c) => c.redirect('/pages/hello', 308))
app.notFound((c) => c.html(<Layout title="not found">nothing at {c.req.path}</Layout>, 404))
app.onError((error, c) => {
  if (error instanceof HTTPException) return error.getResponse()
  return c.json({ error: error.message }, 500)
})

export default app
