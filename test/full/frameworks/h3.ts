import {
  createEventStream,
  getCookie,
  getQuery,
  getRequestIP,
  getRequestURL,
  H3,
  HTTPError,
  handleCors,
  html,
  onError,
  readBody,
  readValidatedBody,
  redirect,
  setCookie,
} from 'h3'
import { z } from 'zod'
import { type Exchanges, json, LARGE } from './exchange.ts'
import { digest, endlessSteps, linesOf, steps } from './steps.ts'

const app = new H3()
const encoder = new TextEncoder()

async function* encoded(source: AsyncGenerator<string>): AsyncGenerator<Uint8Array> {
  for await (const step of source) yield encoder.encode(`${step}\n`)
}

app
  .use(onError(() => undefined))
  .use((event) => {
    event.res.headers.set('x-middleware', 'yes')
  })
  .get('/', () => 'Hello h3')
  .get('/json/:name', (event) => ({ name: event.context.params?.name, query: getQuery(event) }))
  .get('/html', () => html`<p>${'<escaped>'}</p>`)
  .get('/null', () => null)
  .get('/bytes', () => new Uint8Array([0, 255, 128]))
  .get('/blob', () => new Blob(['a blob'], { type: 'text/x-blob' }))
  .get('/ip', (event) => getRequestIP(event) ?? 'none')
  .get('/path', (event) => getRequestURL(event).pathname)
  .get('/cookie', (event) => {
    setCookie(event, 'crumb', 'a', { httpOnly: true, path: '/' })
    return 'set'
  })
  .get('/cookie/read', (event) => getCookie(event, 'crumb') ?? 'none')
  .get('/redirect', () => redirect('/', 302))
  .get('/error', () => {
    throw new HTTPError({ status: 418, message: 'a teapot', data: { short: true } })
  })
  .get('/status', (event) => {
    event.res.status = 201
    event.res.statusText = 'Made'
    return { made: true }
  })
  .all(
    '/cors',
    (event) => handleCors(event, { origin: ['http://a.example'], preflight: { statusCode: 204 } }) || 'cors',
  )
  .post('/body', (event) => readBody(event))
  .post('/valid', (event) => readValidatedBody(event, z.object({ name: z.string() })))
  .post('/form', async (event) => {
    const form = await event.req.formData()
    const file = form.get('file')
    return { title: form.get('title'), file: file instanceof Blob ? await digest(file) : null }
  })
  .post('/digest', async (event) => digest(await event.req.arrayBuffer()))
  .get('/stream', () => encoded(steps()))
  .get('/readable', () => linesOf(steps()))
  .get('/events', (event) => {
    const stream = createEventStream(event)
    void (async () => {
      for await (const data of steps()) await stream.push({ event: 'step', data })
      await stream.close()
    })()
    return stream.send()
  })
  .get('/endless', () => linesOf(endlessSteps()))

export default app

export const exchanges: Exchanges = {
  text: { path: '/' },
  head: { path: '/', method: 'HEAD' },
  json: { path: '/json/%C3%BC?a=1&a=2' },
  html: { path: '/html' },
  null: { path: '/null' },
  bytes: { path: '/bytes' },
  blob: { path: '/blob' },
  getRequestIP: { path: '/ip' },
  path: { path: '/path' },
  'cookie is set': { path: '/cookie' },
  'cookie is read': { path: '/cookie/read' },
  redirect: { path: '/redirect' },
  error: { path: '/error' },
  status: { path: '/status' },
  'not found': { path: '/nowhere' },
  cors: { path: '/cors', headers: { origin: 'http://a.example' } },
  preflight: {
    path: '/cors',
    method: 'OPTIONS',
    headers: { origin: 'http://a.example', 'access-control-request-method': 'PUT' },
  },
  body: json('/body', { name: 'Grüße' }),
  'valid body': json('/valid', { name: 'mongrel' }),
  'invalid body': json('/valid', { name: 2 }),
  'form with a file': {
    path: '/form',
    body: { title: 'ü', file: { name: 'a.bin', type: 'image/png', content: LARGE } },
  },
  'large body': { path: '/digest', body: LARGE },
  generator: { path: '/stream', steps: 'read' },
  ReadableStream: { path: '/readable', steps: 'read' },
  events: { path: '/events', steps: 'read' },
  'stream left': { path: '/endless', steps: 'leave' },
}
