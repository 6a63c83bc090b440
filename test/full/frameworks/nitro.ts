import { type Exchanges, LARGE } from './exchange.ts'

const { default: app } = await import(new URL('nitro/.output/server/index.mjs', import.meta.url).href)

export default app

export const exchanges: Exchanges = {
  text: { path: '/' },
  head: { path: '/', method: 'HEAD' },
  parameters: { path: '/notes/%C3%BC?q=1&q=2' },
  'client address': { path: '/ip' },
  cached: { path: '/cached', volatile: [/(?<=last-modified: |expires: ).*/g] },
  'cached again': { path: '/cached' },
  error: { path: '/error' },
  'thrown error': { path: '/thrown' },
  'not found': { path: '/nowhere' },
  redirect: { path: '/redirect' },
  'route rule': { path: '/ruled' },
  'static file': { path: '/hello.txt' },
  'form with a file': {
    path: '/form',
    body: { title: 'ü', file: { name: 'a.bin', type: 'image/png', content: LARGE } },
  },
  'large body': { path: '/digest', body: LARGE },
  generator: { path: '/generator', steps: 'read' },
  events: { path: '/events', steps: 'read' },
  'stream left': { path: '/endless', steps: 'leave' },
}
