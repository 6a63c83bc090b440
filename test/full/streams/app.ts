import { steadyBody } from '../../support/steady-body.ts'

/** Answers `/BYTES/CHUNK` with a body of so many bytes in chunks of so many. */
export default {
  fetch(request: Request): Response {
    const [, size, chunk] = new URL(request.url).pathname.split('/').map(Number)
    if (!size || !chunk) return new Response('expected /BYTES/CHUNK', { status: 404 })
    return new Response(steadyBody(size, chunk))
  },
}
