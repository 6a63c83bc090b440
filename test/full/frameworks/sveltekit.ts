import { type Exchanges, LARGE } from './exchange.ts'

const built = (file: string) => import(new URL(`sveltekit/build/${file}`, import.meta.url).href)
const [{ Server }, { manifest }] = await Promise.all([built('index.js'), built('manifest.js')])
const server = new Server(manifest)
await server.init({ env: process.env })

export default {
  fetch: (request: Request): Promise<Response> => server.respond(request, { getClientAddress: () => '127.0.0.1' }),
}

const origin = { origin: 'http://a.example' }
const volatile = [/__sveltekit_\w+/g, /(?<=\/immutable\/)[\w./-]+/g]

export const exchanges: Exchanges = {
  page: { path: '/?name=%3CMongrel%3E', volatile },
  head: { path: '/', method: 'HEAD' },
  data: { path: '/__data.json?name=a' },
  'page of an error': { path: '/thrown', volatile },
  'not found': { path: '/nowhere', volatile },
  redirect: { path: '/redirect' },
  'form with a file': {
    path: '/?/upload',
    headers: origin,
    body: { title: 'Grüße', file: { name: 'a.bin', type: 'image/png', content: LARGE } },
    volatile,
  },
  'form of another origin': { path: '/?/upload', headers: { origin: 'http://evil.example' }, body: { title: 'a' } },
  endpoint: { path: '/api' },
  'body of an endpoint': { path: '/api', headers: { ...origin, 'content-type': 'image/png' }, body: LARGE },
  'method not allowed': { path: '/api', method: 'DELETE', headers: origin },
  'stream of an endpoint': { path: '/stream', steps: 'read' },
  'late data': { path: '/late', volatile, steps: 'read' },
  'stream left': { path: '/stream?endless', steps: 'leave' },
}
