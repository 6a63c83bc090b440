import { createHash } from 'node:crypto'
import type { FetchHandler } from '../../../src/index.ts'

const MIB = 1024 * 1024

/** Hashes what it is sent, or sends so many MiB as its path says, each of which is another. */
const handler: FetchHandler = async (request) => {
  const { pathname } = new URL(request.url)
  if (pathname === '/hash') {
    const hash = createHash('sha256')
    for await (const piece of request.body ?? []) hash.update(piece)
    return new Response(hash.digest('hex'))
  }
  const count = Number(pathname.slice(1))
  let sent = 0
  return new Response(
    new ReadableStream({
      pull(controller) {
        controller.enqueue(Buffer.alloc(MIB, `the mebibyte number ${sent++} `))
        if (sent === count) controller.close()
      },
    }),
  )
}

export default handler
