// What every contender but the C handler serves. Plain JavaScript, as all servers here: nothing stands between their code and Node.

import { Hono } from 'hono'

/** Bytes of the large response. */
export const DOWNLOAD_SIZE = 100 * 1024 * 1024
const CHUNK = Buffer.alloc(64 * 1024, 'mongrel2')
/** The page's response headers; content-type comes on top. */
const HEADERS = Array.from({ length: 19 }, (_, n) => [`x-header-${n + 1}`, `the value of header ${n + 1}`])

export const app = new Hono()

app.get('/', (c) => c.text('Hello World'))

app.post('/echo', async (c) => c.json(await c.req.json()))

app.get('/headers', (c) => {
  for (const [name, value] of HEADERS) c.header(name, value)
  return c.text('A page of 20 headers')
})

app.get('/busy', (c) => c.text(String(work())))

app.get('/download', () => {
  let left = DOWNLOAD_SIZE
  const body = new ReadableStream({
    pull(controller) {
      controller.enqueue(CHUNK)
      left -= CHUNK.length
      if (left === 0) controller.close()
    },
  })
  return new Response(body, { headers: { 'content-type': 'application/octet-stream' } })
})

app.post('/upload', async (c) => {
  let size = 0
  for await (const chunk of c.req.raw.body ?? []) size += chunk.length
  return c.text(String(size))
})

/** About a millisecond of computation, whatever the clock says: a core that is shared has to do all of it. */
function work() {
  let state = 1
  for (let n = 0; n < 1_000_000; n++) state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
  return state
}
