import {
  AutoRouter,
  cors,
  error,
  html,
  type IRequest,
  StatusError,
  status,
  withContent,
  withCookies,
} from 'itty-router'
import { type Exchanges, json, LARGE } from './exchange.ts'
import { digest, endlessSteps, linesOf, steps } from './steps.ts'

const { preflight, corsify } = cors({ origin: 'http://a.example' })
const router = AutoRouter({ before: [preflight, withCookies], finally: [corsify] })
router
  .get('/json/:name+', ({ params, query }: IRequest) => ({ params, query }))
  .get('/html', () => html('<p>itty</p>'))
  .get('/cookies', ({ cookies }: IRequest) => cookies ?? null)
  .get('/status', () => status(204))
  .get('/error', () => error(418, { error: 'a teapot' }))
  .get('/thrown', () => {
    throw new StatusError(409, 'a conflict')
  })
  .post('/content', withContent, ({ content }: IRequest) => content)
  .post('/form', withContent, async ({ content }: IRequest) => digest(content.get('file')))
  .post('/bytes', async (request: IRequest) => digest(await request.arrayBuffer()))
  .get('/stream', () => new Response(linesOf(steps()), { headers: { 'content-type': 'text/plain' } }))
  .get('/endless', () => new Response(linesOf(endlessSteps()), { headers: { 'content-type': 'text/plain' } }))

export default router

export const exchanges: Exchanges = {
  parameters: { path: '/json/a/b%20c?x=1&x=2' },
  html: { path: '/html', headers: { origin: 'http://a.example' } },
  preflight: {
    path: '/html',
    method: 'OPTIONS',
    headers: { origin: 'http://a.example', 'access-control-request-method': 'PUT' },
  },
  cookies: { path: '/cookies', headers: { cookie: 'a=1; b=2' } },
  status: { path: '/status' },
  error: { path: '/error' },
  'thrown error': { path: '/thrown' },
  'not found': { path: '/nowhere' },
  'json content': json('/content', { name: 'Grüße' }),
  'text content': { path: '/content', body: 'text' },
  'form with a file': { path: '/form', body: { file: { name: 'a.bin', type: 'image/png', content: LARGE } } },
  'large body': { path: '/bytes', body: LARGE },
  stream: { path: '/stream', steps: 'read' },
  'stream left': { path: '/endless', steps: 'leave' },
}
