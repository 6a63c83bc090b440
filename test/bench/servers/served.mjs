// The app of app.mjs with what people serve.

import { serveStatic } from '@hono/node-server/serve-static'
import { compress } from 'hono/compress'
import { jsx } from 'hono/jsx'
import { app } from './app.mjs'
import { ROWS, TEXT } from './content.mjs'

export { app }

const root = process.env.BENCH_FILES
app.use('/files/*', serveStatic({ root, rewriteRequestPath: (path) => path.slice('/files'.length) }))

app.get('/page', (c) => c.html(jsx(Page, { rows: ROWS })))

app.get('/text', compress(), (c) => c.text(TEXT))

app.post('/json', async (c) => c.text(`${(await c.req.json()).length} things`))

app.post('/form', async (c) => {
  const { title, file } = await c.req.parseBody()
  return c.text(`${title}: ${file.name} of ${file.size} bytes`)
})

function Page({ rows }) {
  const head = jsx('head', {}, jsx('title', {}, 'Things'))
  return jsx('html', {}, head, jsx('body', {}, jsx('table', {}, ...rows.map((row) => jsx(Row, row)))))
}

function Row({ id, name, price }) {
  const link = jsx('a', { href: `/things/${id}`, class: 'thing' }, name)
  return jsx('tr', { id: `row-${id}` }, jsx('td', {}, id), jsx('td', {}, link), jsx('td', {}, price))
}
