// Takes files of any size, with a progress bar, and tells their size and SHA-256.
// Start: npm start -- upload. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/upload.ts
// Look at: http://127.0.0.1:6767/, or: curl --data-binary @FILE http://127.0.0.1:6767/

import { createHash } from 'node:crypto'
import { serveMongrel2 } from 'mongrel2-fetch'

const server = serveMongrel2(
  async (request) => {
    if (request.method === 'POST' || request.method === 'PUT') return Response.json(await digest(request.body))
    return new Response(PAGE, { headers: { 'content-type': 'text/html; charset=utf-8' } })
  },
  {
    zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
    // The directory of Mongrel2: it puts large bodies into files there, and each is deleted once it is answered.
    chroot: process.env.CHROOT ?? '.',
  },
)

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// What has come in is still answered; the process ends when that is done.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void server.close())

/** Reads a body piece by piece, so that its size does not matter. */
async function digest(body: Request['body']): Promise<{ size: number; sha256: string }> {
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of body ?? []) {
    hash.update(chunk)
    size += chunk.length
  }
  return { size, sha256: hash.digest('hex') }
}

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Upload</title>
<style>
  :root { color-scheme: light dark }
  body { max-width: 40rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }
  progress { display: block; width: 100%; margin: 1rem 0 }
  output { font-family: ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
</style>
<h1>Upload a file</h1>
<form>
  <input type="file" name="file" required> <button>Upload</button>
  <progress max="1" value="0"></progress>
  <output></output>
</form>
<script>
  const form = document.querySelector('form')
  const progress = document.querySelector('progress')
  const output = document.querySelector('output')
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const file = form.elements.file.files[0]
    // fetch() does not tell how much it has sent; XMLHttpRequest does.
    const request = new XMLHttpRequest()
    request.upload.addEventListener('progress', ({ loaded, total }) => {
      progress.max = total
      progress.value = loaded
    })
    request.addEventListener('load', () => {
      output.textContent = request.status === 200
        ? file.name + '\\n' + request.response.size + ' bytes\\nSHA-256 ' + request.response.sha256
        : 'The server answered ' + request.status + '.'
    })
    request.addEventListener('error', () => {
      output.textContent = 'The connection was lost.'
    })
    request.open('PUT', '/')
    request.responseType = 'json'
    output.textContent = 'Uploading ...'
    request.send(file)
  })
</script>
</html>
`
