import { setTimeout as sleep } from 'node:timers/promises'
import { steadyBody } from '../../support/steady-body.ts'

/** `/never` is answered when its client has left, `/late` after a while, `/stream/BYTES/CHUNK` with a stream. */
export default {
  async fetch(request: Request): Promise<Response> {
    const [, what, size, chunk] = new URL(request.url).pathname.split('/')
    if (what === 'never') {
      await new Promise((resolve) => request.signal.addEventListener('abort', resolve))
    } else if (what === 'late') await sleep(20)
    else if (what === 'stream') return new Response(steadyBody(Number(size), Number(chunk)))
    else await request.arrayBuffer()
    return new Response('answered')
  },
}
