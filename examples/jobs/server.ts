// A request that takes long is handed to a worker process, which answers it: this process only passes on its token.
// Start: npm start -- jobs. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/jobs/server.ts
// Look at: http://127.0.0.1:6767/, and the worker in the answers. By hand more of them join at any time: npx tsx examples/jobs/worker.ts

import { fork } from 'node:child_process'
import { serveMongrel2 } from 'mongrel2-fetch'
import { Push } from 'zeromq'

/** Where workers get jobs. They are dealt in turn; while there is no worker, nobody takes one. */
const jobs = new Push({ sendTimeout: 0, linger: 0 })
await jobs.bind(process.env.JOBS ?? 'tcp://127.0.0.1:9995')
const worker = fork(new URL('worker.ts', import.meta.url))

const server = serveMongrel2(
  async (request, env) => {
    const url = new URL(request.url)
    if (url.pathname !== '/primes')
      return new Response(PAGE, { headers: { 'content-type': 'text/html; charset=utf-8' } })
    const below = Number(url.searchParams.get('below'))
    if (!Number.isInteger(below) || below < 0 || below > 20_000_000)
      return new Response('0 to 20000000\n', { status: 400 })
    // A worker that does not answer in time leaves a 504.
    const { token, response } = await env.mongrel2.defer({ timeout: 30_000 })
    try {
      await jobs.send(JSON.stringify({ token, below }))
    } catch {
      return new Response('There is no worker.\n', { status: 503 })
    }
    return response
  },
  {
    zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
    // The directory of Mongrel2, where it puts large bodies.
    chroot: process.env.CHROOT ?? '.',
  },
)

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, async () => {
    await server.close()
    jobs.close()
    // It finishes what it is at and ends.
    if (worker.connected) worker.disconnect()
  })
}

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Jobs</title>
<style>
  :root { color-scheme: light dark }
  body { max-width: 40rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }
  output { display: block; margin: 1rem 0; font-family: ui-monospace, monospace }
</style>
<h1>Count primes</h1>
<form>
  <label>below <input name="below" type="number" min="0" max="20000000" value="5000000"></label> <button>Count</button>
  <output></output>
</form>
<script>
  const form = document.querySelector('form')
  const output = document.querySelector('output')
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    output.textContent = 'Counting ...'
    const response = await fetch('/primes?' + new URLSearchParams(new FormData(form)))
    output.textContent = await response.text()
  })
</script>
</html>
`
