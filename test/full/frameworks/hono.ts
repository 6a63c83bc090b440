import { getConnInfo } from '@hono/node-server/conninfo'
import { serveStatic } from '@hono/node-server/serve-static'
import { Hono } from 'hono'
import { basicAuth } from 'hono/basic-auth'
import { bodyLimit } from 'hono/body-limit'
import { compress } from 'hono/compress'
import { deleteCookie, getCookie, getSignedCookie, setCookie, setSignedCookie } from 'hono/cookie'
import { cors } from 'hono/cors'
import { csrf } from 'hono/csrf'
import { etag } from 'hono/etag'
import { html } from 'hono/html'
import { HTTPException } from 'hono/http-exception'
import { jwt, sign } from 'hono/jwt'
import { methodOverride } from 'hono/method-override'
import { poweredBy } from 'hono/powered-by'
import { prettyJSON } from 'hono/pretty-json'
import { requestId } from 'hono/request-id'
import { secureHeaders } from 'hono/secure-headers'
import { stream, streamSSE, streamText } from 'hono/streaming'
import { timeout } from 'hono/timeout'
import { timing } from 'hono/timing'
import { validator } from 'hono/validator'
import { type Exchanges, json, LARGE } from './exchange.ts'
import { digest, endlessSteps, steps } from './steps.ts'

const SECRET = 'a secret of the test, long enough'
const app = new Hono()

app.use(secureHeaders(), poweredBy(), prettyJSON())
app.use('/api/*', cors({ origin: 'http://a.example', credentials: true }), requestId(), timing())
app.use('/private', basicAuth({ username: 'mongrel', password: 'two' }))
app.use('/token', jwt({ secret: SECRET, alg: 'HS256' }))
app.use('/form', csrf({ origin: 'http://a.example' }))
app.use('/etag', etag())
app.use('/large', compress())
app.use('/late', timeout(50))
app.use('/limited', bodyLimit({ maxSize: 10, onError: (c) => c.text('too large', 413) }))
app.use('/notes/*', methodOverride({ app }))
app.use('/files/*', serveStatic({ root: './public', rewriteRequestPath: (path) => path.replace('/files', '') }))

app.get('/', (c) => c.text('Hello Hono'))
app.get('/html', (c) => c.html(html`<p>${'<escaped>'}</p>`))
app.get('/api/json', (c) => c.json({ ok: true, query: c.req.queries('q') }))
app.get('/private', (c) => c.text('inside'))
app.get('/token', (c) => c.json(c.get('jwtPayload')))
app.get('/sign', async (c) => c.text(await sign({ sub: 'mongrel' }, SECRET)))
app.get('/etag', (c) => c.text('always the same'))
app.get('/large', (c) => c.text('compressible '.repeat(1000)))
app.get('/late', async (c) => {
  await new Promise((resolve) => setTimeout(resolve, 5000).unref())
  return c.text('late')
})
app.get('/address', (c) => c.json(getConnInfo(c).remote.address))
app.get('/cookies', async (c) => {
  setCookie(c, 'plain', 'a', { path: '/', httpOnly: true, sameSite: 'Lax' })
  await setSignedCookie(c, 'signed', 'b', SECRET)
  return c.text('set')
})
app.get('/cookies/read', async (c) => {
  deleteCookie(c, 'plain')
  return c.json([getCookie(c, 'plain'), await getSignedCookie(c, SECRET, 'signed')])
})
app.get('/redirect', (c) => c.redirect('/', 303))
app.get('/error', () => {
  throw new HTTPException(418, { message: 'a teapot' })
})
app.get('/thrown', () => {
  throw new Error('not for clients')
})
app.post('/limited', async (c) => c.text(await c.req.text()))
app.post('/form', async (c) => {
  const { title, file } = await c.req.parseBody()
  return c.json({ title, file: file instanceof File ? [file.name, file.type, await digest(file)] : null })
})
app.post('/bytes', async (c) => c.json(await digest(await c.req.arrayBuffer())))
app.post('/echo', (c) => c.body(c.req.raw.body ?? '', 200, { 'content-type': 'image/png' }))
app.delete('/notes/:id', (c) => c.text(`deleted ${c.req.param('id')}`))
app.post(
  '/valid',
  validator('json', (value, c) => (typeof value.name === 'string' ? value : c.json({ error: 'name' }, 422))),
  (c) => c.json({ name: c.req.valid('json').name }),
)
app.get('/stream', (c) => {
  c.header('content-type', 'application/x-steps')
  return stream(c, async (out) => {
    for await (const step of steps()) await out.write(`${step}\n`)
  })
})
app.get('/text', (c) =>
  streamText(c, async (out) => {
    for await (const step of steps()) await out.writeln(step)
  }),
)
app.get('/events', (c) =>
  streamSSE(c, async (out) => {
    for await (const data of steps()) await out.writeSSE({ event: 'step', data, id: data })
  }),
)
app.get('/endless', (c) =>
  streamSSE(c, async (out) => {
    for await (const data of endlessSteps()) {
      if (out.aborted) break
      await out.writeSSE({ data })
    }
  }),
)

export default app

const UUID = /[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g
const origin = { origin: 'http://a.example' }

export const exchanges: Exchanges = {
  text: { path: '/' },
  head: { path: '/', method: 'HEAD' },
  html: { path: '/html' },
  'not found': { path: '/nowhere' },
  cors: { path: '/api/json?q=1&q=%C3%BC', headers: origin, volatile: [UUID, /dur=[\d.]+/g] },
  preflight: { path: '/api/json', method: 'OPTIONS', headers: { ...origin, 'access-control-request-method': 'PUT' } },
  'pretty json': { path: '/address?pretty' },
  'basic auth refuses': { path: '/private' },
  'basic auth': { path: '/private', headers: { authorization: `Basic ${btoa('mongrel:two')}` } },
  'jwt refuses': { path: '/token' },
  sign: { path: '/sign' },
  jwt: {
    path: '/token',
    headers: {
      authorization:
        'Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJtb25ncmVsIn0.3xNCRqvt8c26UPmgWEojXrqS9ylPPMqIOlOMrn7SpFI',
    },
  },
  'jwt refuses a wrong one': { path: '/token', headers: { authorization: 'Bearer a.b.c' } },
  etag: { path: '/etag' },
  'not modified': { path: '/etag', headers: { 'if-none-match': '"b8df3cd5237bb0ad84cf5ad76b3ea2dafc45f3f7"' } },
  compress: { path: '/large', headers: { 'accept-encoding': 'gzip' } },
  timeout: { path: '/late' },
  getConnInfo: { path: '/address' },
  'cookies are set': { path: '/cookies' },
  'cookies are read': { path: '/cookies/read' },
  redirect: { path: '/redirect' },
  HTTPException: { path: '/error' },
  'thrown error': { path: '/thrown' },
  'body limit': { path: '/limited', body: 'more than ten' },
  'body within its limit': { path: '/limited', body: 'ten' },
  'form with a file': {
    path: '/form',
    body: { title: 'Grüße', file: { name: 'ü.bin', type: 'image/png', content: LARGE } },
    headers: origin,
  },
  'large body': { path: '/bytes', body: LARGE },
  'body sent back': { path: '/echo', body: LARGE },
  'method override': { path: '/notes/7', body: { _method: 'DELETE' } },
  validator: json('/valid', { name: 'mongrel' }),
  'validator refuses': json('/valid', { name: 2 }),
  'static file': { path: '/files/steps.txt' },
  'part of a static file': { path: '/files/steps.txt', headers: { range: 'bytes=4-8' } },
  stream: { path: '/stream', steps: 'read' },
  streamText: { path: '/text', steps: 'read' },
  streamSSE: { path: '/events', steps: 'read' },
  'stream left': { path: '/endless', steps: 'leave' },
}
