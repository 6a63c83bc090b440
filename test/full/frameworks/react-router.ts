import { createRequestHandler, type ServerBuild } from 'react-router'
import { type Exchanges, LARGE } from './exchange.ts'

const build: ServerBuild = await import(new URL('react-router/build/server/index.js', import.meta.url).href)

export default createRequestHandler(build, 'production')

/** Robots get a page when all of it is there. */
const browser = { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' }
const HASHES = [/(?<=-)[\w-]{8}(?=\.(?:js|css))/g]

export const exchanges: Exchanges = {
  page: { path: '/?name=%3CMongrel%3E', volatile: HASHES },
  head: { path: '/', method: 'HEAD' },
  data: { path: '/_root.data?name=a' },
  'page of an error': { path: '/thrown', volatile: HASHES },
  'not found': { path: '/nowhere', volatile: HASHES },
  redirect: { path: '/redirect' },
  'form with a file': {
    path: '/?index',
    body: { title: 'Grüße', file: { name: 'a.bin', type: 'image/png', content: LARGE } },
    volatile: HASHES,
  },
  'resource route': { path: '/resource' },
  'body of a resource route': { path: '/resource', body: LARGE },
  'stream of a resource route': { path: '/stream', steps: 'read' },
  'late data': { path: '/late', headers: browser, volatile: HASHES, steps: 'read' },
  'stream left': { path: '/stream?endless', steps: 'leave' },
}
