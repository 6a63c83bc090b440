import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Says the SHA-256 of a body that it reads slowly: after each piece it lets everything else go on. */
export default {
  async fetch(request: Request): Promise<Response> {
    const hash = createHash('sha256')
    let pieces = 0
    for await (const piece of request.body ?? []) {
      hash.update(piece)
      if (++pieces % 16 === 0) await new Promise((resolve) => setTimeout(resolve, 1))
      else await nextTurn()
    }
    return new Response(hash.digest('hex'))
  },
}
