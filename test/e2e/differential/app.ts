import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Context, Hono } from 'hono'
import { compress } from 'hono/compress'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import { cors } from 'hono/cors'
import { etag } from 'hono/etag'
import { HTTPException } from 'hono/http-exception'
import { secureHeaders } from 'hono/secure-headers'
import { stream, streamSSE, streamText } from 'hono/streaming'

// The app that both servers run. What a server makes of a request shows in /echo, what it makes of a response in the rest.

const app = new Hono()
app.onError((error, c) =>
  error instanceof HTTPException ? error.getResponse() : c.json({ error: error.name, message: error.message }, 500),
)
app.notFound((c) => c.text(`nothing at ${c.req.path}`, 404))

app.get('/probe', (c) => c.text('probe'))

app.all('/echo', echo)
app.all('/echo/*', echo)
app.get('/param/:id', (c) => c.json({ id: c.req.param('id'), queries: c.req.queries() }))
app.get('/forwarded-for', (c) => c.text(c.req.header('x-forwarded-for') ?? 'none'))
app.all('/mongrel2-headers', (c) => {
  const names = ['x-mongrel2-upload-start', 'x-mongrel2-upload-done', 'x-mongrel2-else']
  return c.json(names.map((name) => c.req.header(name)))
})

// Bodies of requests
app.post('/json', async (c) => c.json({ got: await c.req.json() }))
app.post('/form', async (c) => {
  const form = await c.req.parseBody({ all: true })
  const fields = Object.entries(form).map(async ([name, value]) => [name, await Promise.all([value].flat().map(show))])
  return c.json(await Promise.all(fields))
})
app.post('/blob', async (c) => {
  const blob = await c.req.raw.blob()
  return c.json({ type: blob.type, size: blob.size })
})
app.post('/hash', async (c) => {
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of c.req.raw.body ?? []) {
    hash.update(chunk)
    size += chunk.length
  }
  return c.json({ size, sha256: hash.digest('hex') })
})
app.post('/clone', async (c) => {
  const copy = c.req.raw.clone()
  return c.json([await copy.text(), await c.req.raw.text()])
})
app.post('/twice', async (c) => {
  await c.req.raw.text()
  return c.text(
    await c.req.raw.text().then(
      () => 'read twice',
      (error) => error.name,
    ),
  )
})
app.post('/copied', async (c) => {
  const copy = new Request(c.req.raw, { headers: { 'x-copied': 'yes' } })
  return c.json({ header: copy.headers.get('x-copied'), method: copy.method, url: copy.url, body: await copy.text() })
})
app.post('/unread', (c) => c.text('not read'))
app.all('/has-body', (c) => c.json(c.req.raw.body !== null))
app.all('/back', (c) => new Response(c.req.raw.body, { headers: { 'content-type': 'application/octet-stream' } }))

// Bodies of responses
app.get('/text', (c) => c.text('text'))
app.get('/html', (c) => c.html('<p>Grüße</p>'))
app.get('/json', (c) => c.json({ a: [1, 'ü', null] }))
app.get('/binary', () => new Response(allBytes, { headers: { 'content-type': 'application/octet-stream' } }))
app.get('/empty', () => new Response(''))
app.get('/null', () => new Response(null))
app.get('/array-buffer', () => new Response(allBytes.buffer.slice(0, 16)))
app.get('/data-view', () => new Response(new DataView(allBytes.buffer, 16, 16)))
// With its length: whether it is found out depends on how soon this Node has read a Blob, and here on whose Response it is.
const LENGTH = { headers: { 'content-length': '4' } }
app.get('/blob', () => new Response(new Blob(['bl', 'ob'], { type: 'text/x-blob' }), LENGTH))
app.get('/untyped-blob', () => new Response(new Blob(['blob']), LENGTH))
app.get('/params', () => new Response(new URLSearchParams({ a: '1', b: 'ü &' })))
app.get('/form', () => {
  const form = new FormData()
  form.append('field', 'value')
  form.append('file', new File(['content'], 'ü.txt', { type: 'text/plain' }))
  return new Response(form)
})
app.get('/large', () => new Response(largeBytes))
app.get('/response-json', () => Response.json({ static: true }, { status: 201 }))

// Streams
app.get('/stream/one-chunk', () => new Response(streamOf(['only'])))
app.get('/stream/several', () => new Response(streamOf(['one ', 'two ', 'three'])))
app.get('/stream/slow', () => new Response(streamOf(['one ', 'two ', 'three'], 10)))
app.get('/stream/none', () => new Response(streamOf([])))
app.get('/stream/empty-chunks', () => new Response(streamOf(['', 'a', '', 'b', ''], 1)))
app.get('/stream/large', () => new Response(streamOf(Array(64).fill('x'.repeat(16_384)))))
app.get('/stream/many', () => new Response(streamOf(Array.from({ length: 500 }, (_, n) => `${n} `))))
app.get('/stream/bytes', () => new Response(byteStream()))
app.get('/stream/length', () => new Response(streamOf(['12345', '67890'], 5), { headers: { 'content-length': '10' } }))
app.get('/stream/text', (c) =>
  streamText(c, async (out) => {
    await out.writeln('line')
    await out.write('end')
  }),
)
app.get('/stream/hono', (c) =>
  stream(c, async (out) => {
    await out.write(allBytes)
    await out.sleep(5)
    await out.pipe(streamOf(['piped']))
  }),
)
app.get('/stream/sse', (c) =>
  streamSSE(c, async (out) => {
    for (let id = 0; id < 3; id++) {
      await out.writeSSE({ id: String(id), event: 'tick', data: `line ${id}\nü` })
      await out.sleep(2)
    }
  }),
)
app.get('/stream/transformed', () => {
  const upper = new TransformStream<Uint8Array, Uint8Array>({
    transform: (chunk, controller) => controller.enqueue(Buffer.from(Buffer.from(chunk).toString().toUpperCase())),
  })
  return new Response(streamOf(['low', 'er']).pipeThrough(upper))
})
app.get('/stream/fails-at-once', () => new Response(failed()))
app.get('/stream/fails-later', () => new Response(failing(['one ', 'two '], 10)))
app.get(
  '/stream/fails-with-length',
  () => new Response(failing(['12345'], 10), { headers: { 'content-length': '10' } }),
)
app.get('/stream/locked', () => {
  const response = new Response(streamOf(['locked']))
  response.body?.getReader()
  return response
})
app.get('/stream/used', async () => {
  const response = new Response('used')
  await response.text()
  return response
})

// Statuses and headers
app.all('/status/:status', (c) => new Response(null, { status: Number(c.req.param('status')) }))
app.get('/status-text', () => new Response('fine', { status: 299, statusText: 'Very Fine' }))
app.get('/unknown-status', () => new Response('what', { status: 599 }))
app.get('/no-content-with-type', () => new Response(null, { status: 204, headers: { 'content-type': 'text/plain' } }))
app.all('/not-modified', () => new Response(null, { status: 304, headers: { etag: '"1"', 'content-length': '5' } }))
app.get('/reset-content', () => new Response(null, { status: 205 }))
app.all('/length-of-head', () => new Response(null, { headers: { 'content-length': '1234' } }))
app.get('/headers', (c) => {
  c.header('X-Mixed-Case', 'Value')
  c.header('x-several', 'one', { append: true })
  c.header('x-several', 'two', { append: true })
  c.header('x-empty', '')
  c.header('vary', 'accept')
  return c.body('headers')
})
app.get('/latin1-header', () => new Response('latin1', { headers: { 'x-latin1': 'caf\xe9 \xff' } }))
app.get('/long-header', () => new Response('long', { headers: { 'x-long': 'l'.repeat(10_000) } }))
app.get('/date', () => new Response('old', { headers: { date: 'Mon, 01 Jan 2001 00:00:00 GMT' } }))
app.get('/hop-by-hop', () => {
  const headers = { te: 'trailers', upgrade: 'h2c', 'keep-alive': 'timeout=1', 'proxy-connection': 'x' }
  return new Response('hop', { headers })
})
app.get('/says-chunked', () => new Response('chunked', { headers: { 'transfer-encoding': 'chunked' } }))
app.get('/says-close', () => new Response('closing', { headers: { connection: 'close' } }))
app.get('/says-short', () => new Response('too long', { headers: { 'content-length': '3' } }))
app.get('/says-long', () => new Response('short', { headers: { 'content-length': '10' } }))
app.get('/says-nonsense', () => new Response('nonsense', { headers: { 'content-length': 'x' } }))

// Cookies and redirects
app.get('/cookies', (c) => c.json(getCookie(c)))
app.get('/set-cookies', (c) => {
  setCookie(c, 'a', '1', { path: '/', httpOnly: true })
  setCookie(c, 'b', 'two, and; more', { maxAge: 60, sameSite: 'Strict' })
  deleteCookie(c, 'c')
  return c.text('set')
})
app.get('/redirect/:status', (c) => c.redirect('/elsewhere?x=ü', Number(c.req.param('status')) as 302))
app.get('/redirect-absolute', () => Response.redirect('http://other.example/path', 307))

// Errors
app.get('/throw', () => {
  throw new Error('thrown')
})
app.get('/reject', () => Promise.reject(new TypeError('rejected')))
app.get('/http-exception', () => {
  throw new HTTPException(418, { message: 'short and stout' })
})
app.get('/http-exception-response', () => {
  throw new HTTPException(401, { res: new Response('who?', { status: 401, headers: { 'www-authenticate': 'Basic' } }) })
})
app.get('/response-error', () => Response.error())

// Middleware
app.use('/gzip/*', compress())
app.get('/gzip/text', (c) => c.text('compressible '.repeat(1000)))
app.get('/gzip/small', (c) => c.text('small'))
app.get('/gzip/json', (c) => c.json({ value: 'compressible '.repeat(1000) }))
app.get('/gzip/stream', (c) =>
  streamText(c, async (out) => {
    await out.write('compressible '.repeat(1000))
    await out.sleep(5)
  }),
)
app.get('/gzip/image', () => new Response(allBytes, { headers: { 'content-type': 'image/png' } }))
app.use('/etag/*', etag())
app.get('/etag/text', (c) => c.text('tagged'))
app.use('/cors/*', cors({ origin: 'http://a.example', credentials: true, maxAge: 5, exposeHeaders: ['x-exposed'] }))
app.all('/cors/text', (c) => c.text('cors'))
app.use('/secure/*', secureHeaders())
app.get('/secure/text', (c) => c.text('secure'))

app.get('/slow', async (c) => {
  await sleep(20)
  return c.text('slow')
})
app.get('/aborted', (c) => c.text(String(c.req.raw.signal.aborted)))

const allBytes = Uint8Array.from({ length: 256 }, (_, byte) => byte)
const largeBytes = Buffer.alloc(1024 * 1024, 'large ')

/** /forwarded-for and /mongrel2-headers show them. */
const ADDED_BY_MONGREL2 = new Set(['x-forwarded-for', 'x-mongrel2-upload-start', 'x-mongrel2-upload-done'])

async function echo(c: Context): Promise<Response> {
  const { method, url, headers } = c.req.raw
  const fields = [...headers].filter(([name]) => !ADDED_BY_MONGREL2.has(name))
  const body = Buffer.from(await c.req.raw.arrayBuffer())
  return c.json({ method, url, path: c.req.path, headers: fields, body: body.toString('latin1') })
}

async function show(value: string | File): Promise<unknown> {
  if (typeof value === 'string') return value
  const { name, type, size } = value
  return { name, type, size, hex: Buffer.from(await value.arrayBuffer()).toString('hex') }
}

function streamOf(chunks: readonly string[], pause?: number): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    async pull(controller) {
      const chunk = chunks[at++]
      if (chunk === undefined) return controller.close()
      if (pause !== undefined && at > 1) await sleep(pause)
      controller.enqueue(new TextEncoder().encode(chunk))
    },
  })
}

function failing(chunks: readonly string[], pause = 0): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    async pull(controller) {
      const chunk = chunks[at++]
      if (pause > 0) await sleep(pause)
      if (chunk === undefined) throw new Error('the source failed')
      controller.enqueue(new TextEncoder().encode(chunk))
    },
  })
}

/** Failed before it is read, so that it does not depend on Node's pace who notices in time to say so. */
function failed(): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (controller) => controller.error(new Error('the source failed')) })
}

function byteStream(): ReadableStream<Uint8Array> {
  let left = 3
  return new ReadableStream({
    type: 'bytes',
    pull(controller) {
      controller.enqueue(new Uint8Array([left]))
      if (--left === 0) controller.close()
    },
  })
}

/** What a handler that is not Hono's may do. */
const plain: Record<string, () => unknown> = {
  '/plain/throws': () => {
    throw new Error('secret of a plain handler')
  },
  '/plain/rejects': () => Promise.reject(new Error('secret of a plain handler')),
  '/plain/throws-text': () => {
    throw 'secret of a plain handler'
  },
  '/plain/returns-text': () => 'no Response',
  '/plain/returns-nothing': () => undefined,
  '/plain/response-error': () => Response.error(),
  '/plain/text': () => new Response('plain'),
}

export default {
  fetch(request: Request, ...rest: unknown[]): Response | Promise<Response> {
    const handler = plain[new URL(request.url).pathname]
    if (handler !== undefined) return handler() as Response
    return app.fetch(request, ...(rest as []))
  },
}
