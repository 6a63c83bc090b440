// A page with everything an app sees: what a browser and Mongrel2 make of a request.
// Start: npm start -- testapp. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/testapp.ts
// Look at: http://127.0.0.1:6767/any/path?with=a&query, the same below /tnet/, and: curl -d 'a body' http://127.0.0.1:6767/

import { type Mongrel2Env, serveMongrel2 } from 'mongrel2-fetch'

const server = serveMongrel2(page, {
  // The two Handlers of examples/mongrel2.conf: / speaks JSON with us, /tnet/ tnetstrings.
  zeromq: [
    process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
    process.env.ZEROMQ_TNET ?? 'tcp://127.0.0.1:9997,tcp://127.0.0.1:9996',
  ],
  // The directory of Mongrel2, where it puts large bodies.
  chroot: process.env.CHROOT ?? '.',
})

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// What has come in is still answered; the process ends when that is done.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void server.close())

async function page(request: Request, env: Mongrel2Env): Promise<Response> {
  const url = new URL(request.url)
  const { headers, upload, ...mongrel2 } = env.mongrel2
  const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>mongrel2-fetch test app</title>
<style>
  :root { color-scheme: light dark }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }
  table { width: 100%; border-collapse: collapse }
  caption { margin: 2rem 0 .5rem; text-align: left; font-size: 1.25rem; font-weight: bold }
  th, td { padding: .25rem .5rem; border-top: 1px solid #8884; text-align: left; vertical-align: top }
  th { width: 14rem; font-weight: normal; opacity: .7 }
  td { font-family: ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
</style>
<h1>It works</h1>
<p>This request went through Mongrel2 to a fetch handler. Here is everything that the handler sees.
<form method="post">
  <input name="message" aria-label="A message" value="Hällo &lt;wörld&gt;"> <button>Send it with POST</button>
</form>
${table('Request', Object.entries({ method: request.method, url: request.url, body: await describe(request.body) }))}
${table('Query', url.searchParams)}
${table('Headers', request.headers)}
${table('env.mongrel2', Object.entries(mongrel2))}
${table('env.mongrel2.upload', Object.entries(upload ?? {}))}
${table('env.mongrel2.headers', Object.entries(headers))}
${table('Process', Object.entries(describeProcess()))}
${table('server.stats()', Object.entries(server.stats()))}
</html>
`
  return new Response(html, { headers: { 'content-type': 'text/html; charset=utf-8' } })
}

/** The size of a body and its first 4 KiB as text; the rest is counted and not kept. */
async function describe(body: Request['body']): Promise<string> {
  if (body === null) return 'none'
  const decoder = new TextDecoder()
  let text = ''
  let size = 0
  for await (const chunk of body) {
    if (size < 4096) text += decoder.decode(chunk.subarray(0, 4096 - size), { stream: true })
    size += chunk.length
  }
  return `${size} bytes\n${text}${size > 4096 ? '...' : ''}`
}

function describeProcess(): Record<string, unknown> {
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    pid: process.pid,
    directory: process.cwd(),
    uptime: `${Math.round(process.uptime())} s`,
    memory: `${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB`,
  }
}

function table(caption: string, entries: Iterable<[string, unknown]>): string {
  const rows = Array.from(entries, ([name, value]) => `<tr><th scope="row">${escapeHtml(name)}<td>${escapeHtml(value)}`)
  return `<table>\n<caption>${escapeHtml(caption)}</caption>\n${rows.join('\n') || '<tr><td>none'}\n</table>`
}

function escapeHtml(value: unknown): string {
  return String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
