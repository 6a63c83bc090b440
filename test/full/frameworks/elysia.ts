import { Elysia, file, form, sse, status, t } from 'elysia'
import { type Exchanges, json, LARGE } from './exchange.ts'
import { digest, endlessSteps, linesOf, steps } from './steps.ts'

class Conflict extends Error {
  status = 409
}

const app = new Elysia()
  .onAfterHandle(({ set }) => {
    set.headers['x-after'] = 'yes'
  })
  .get('/', () => 'Hello Elysia')
  .get('/json/:name', ({ params, query }) => ({ ...params, query }))
  .get('/number', () => 7)
  .get('/empty', () => {})
  .get('/bytes', () => new Uint8Array([0, 255, 128]))
  .get('/file', () => file('public/steps.txt'))
  .get('/form', () => form({ title: 'ü', file: new File(['a file'], 'a.txt', { type: 'text/plain' }) }))
  .get('/status', () => status(418, 'a teapot'))
  .get('/thrown', () => {
    throw new Conflict('a conflict')
  })
  .get('/redirect', ({ redirect }) => redirect('http://a.example/', 303))
  .get('/headers', ({ set, headers }) => {
    set.headers['x-set'] = 'a'
    return headers['x-given'] ?? null
  })
  .get('/cookie', ({ cookie: { crumb } }) => {
    crumb?.set({ value: 'a', httpOnly: true, path: '/' })
    return 'set'
  })
  .get('/cookie/read', ({ cookie: { crumb } }) => String(crumb?.value ?? 'none'))
  .post('/json', ({ body }) => body, { body: t.Object({ name: t.String() }) })
  .post('/text', ({ body }) => body, { parse: 'text' })
  .post('/urlencoded', ({ body }) => body, { parse: 'urlencoded' })
  .post(
    '/upload',
    async ({ body }) => ({ title: body.title, files: await Promise.all(body.files.map((one) => digest(one))) }),
    { body: t.Object({ title: t.String(), files: t.Files() }) },
  )
  .post('/digest', ({ body }) => digest(body as ArrayBuffer), { parse: 'arrayBuffer' })
  .get('/generator', async function* () {
    yield* steps()
  })
  .get('/objects', async function* () {
    for await (const step of steps()) yield { step }
  })
  .get('/events', async function* () {
    for await (const step of steps()) yield sse({ event: 'step', data: { step } })
  })
  .get('/response', () => new Response(linesOf(steps()), { headers: { 'content-type': 'text/plain' } }))
  .get('/endless', async function* () {
    yield* endlessSteps()
  })

export default app

export const exchanges: Exchanges = {
  text: { path: '/' },
  head: { path: '/', method: 'HEAD' },
  json: { path: '/json/%C3%BC?a=1&a=2' },
  number: { path: '/number' },
  empty: { path: '/empty' },
  bytes: { path: '/bytes' },
  file: { path: '/file' },
  'form as a response': { path: '/form', volatile: [/-{4,}formdata-[\w-]+/g] },
  status: { path: '/status' },
  'thrown error': { path: '/thrown' },
  redirect: { path: '/redirect' },
  headers: { path: '/headers', headers: { 'x-given': 'b' } },
  'cookie is set': { path: '/cookie' },
  'cookie is read': { path: '/cookie/read' },
  'not found': { path: '/nowhere' },
  body: json('/json', { name: 'Grüße' }),
  'invalid body': json('/json', { name: 2 }),
  'text body': { path: '/text', body: 'Grüße', headers: { 'content-type': 'text/plain' } },
  urlencoded: {
    path: '/urlencoded',
    body: 'a=1&b=%C3%BC',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  },
  'form with a file': {
    path: '/upload',
    body: { title: 'ü', files: { name: 'a.bin', type: 'image/png', content: LARGE } },
  },
  'large body': { path: '/digest', body: LARGE, headers: { 'content-type': 'application/octet-stream' } },
  generator: { path: '/generator', steps: 'read' },
  'generator of objects': { path: '/objects', steps: 'read' },
  sse: { path: '/events', steps: 'read' },
  'stream of a Response': { path: '/response', steps: 'read' },
  'stream left': { path: '/endless', steps: 'leave' },
}
