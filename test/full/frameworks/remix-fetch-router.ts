import { createRouter } from '@remix-run/fetch-router'
import { route } from '@remix-run/fetch-router/routes'
import { type FileUpload, parseFormData } from '@remix-run/form-data-parser'
import { type Exchanges, LARGE } from './exchange.ts'
import { digest, endlessSteps, linesOf, steps } from './steps.ts'

const routes = route({
  home: { method: 'GET', pattern: '/' },
  show: { method: 'GET', pattern: '/notes/:id' },
  thrown: { method: 'GET', pattern: '/thrown' },
  form: { method: 'POST', pattern: '/form' },
  upload: { method: 'POST', pattern: '/upload' },
  digest: { method: 'POST', pattern: '/digest' },
  stream: { method: 'GET', pattern: '/stream' },
  endless: { method: 'GET', pattern: '/endless' },
})

function streamed(source: AsyncGenerator<string>): Response {
  return new Response(linesOf(source), { headers: { 'content-type': 'text/plain' } })
}

const router = createRouter({
  middleware: [
    async (_context, next) => {
      const response = await next()
      response.headers.set('x-middleware', 'yes')
      return response
    },
  ],
})

router.map(routes, {
  actions: {
    home: ({ url }) => new Response(`Hello ${url.pathname}`),
    show: ({ params, url }) => Response.json({ id: params.id, q: url.searchParams.getAll('q') }),
    thrown: () => {
      throw new Response('a teapot', { status: 418 })
    },
    form: async ({ request }) => Response.json(Object.fromEntries(await request.formData())),
    upload: async ({ request }) => {
      let file: unknown
      const form = await parseFormData(request, async (upload: FileUpload) => {
        file = { name: upload.name, ...(await digest(await upload.arrayBuffer())) }
        return 'stored'
      })
      return Response.json({ title: form.get('title'), stored: form.get('file'), file })
    },
    digest: async ({ request }) => Response.json(await digest(await request.arrayBuffer())),
    stream: () => streamed(steps()),
    endless: () => streamed(endlessSteps()),
  },
})

export default {
  fetch: async (request: Request): Promise<Response> => {
    try {
      return await router.fetch(request)
    } catch (thrown) {
      if (thrown instanceof Response) return thrown
      throw thrown
    }
  },
}

export const exchanges: Exchanges = {
  text: { path: '/' },
  head: { path: '/', method: 'HEAD' },
  parameters: { path: '/notes/%C3%BC?q=1&q=2' },
  'thrown response': { path: '/thrown' },
  'not found': { path: '/nowhere' },
  form: { path: '/form', body: { title: 'Grüße' } },
  'form with a file': {
    path: '/upload',
    body: { title: 'ü', file: { name: 'a.bin', type: 'image/png', content: LARGE } },
  },
  'large body': { path: '/digest', body: LARGE },
  stream: { path: '/stream', steps: 'read' },
  'stream left': { path: '/endless', steps: 'leave' },
}
