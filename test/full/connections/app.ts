import { setTimeout as sleep } from 'node:timers/promises'
import { steadyBody } from '../../support/steady-body.ts'

/** `/never` is answered when its client has left, `/late` after a while, `/trickle` without an end, `/flood` with a lot. */
export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname === '/never') {
      await new Promise((resolve) => request.signal.addEventListener('abort', resolve))
    } else if (pathname === '/late') await sleep(20)
    else if (pathname === '/trickle') return new Response(trickle())
    else if (pathname === '/flood') return new Response(steadyBody(100_000_000, 50_000))
    else await request.arrayBuffer()
    return new Response('answered')
  },
}

function trickle(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      await sleep(5)
      controller.enqueue(Buffer.from('a drop'))
    },
  })
}
