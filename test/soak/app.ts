import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FetchHandler } from '../../src/index.ts'
import { contentOf } from './content.ts'

/** A reader that takes its time rests after so many bytes. */
const REST_AFTER = 64 * 1024

/** The handler under load: what it answers follows from the request alone, so that each client knows every byte of it. */
export class SoakApp {
  /** Calls that have not returned, and bodies that have neither come to their end nor been cancelled. */
  running = 0

  readonly fetch: FetchHandler = async (request) => {
    this.running++
    try {
      return await this.#answer(request)
    } finally {
      this.running--
    }
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url)
    const number = (name: string) => Number(searchParams.get(name) ?? 0)
    switch (pathname) {
      case '/content':
        return new Response(Uint8Array.from(contentOf(number('seed'), number('size'))))
      case '/stream':
        return new Response(this.#stream(number('seed'), number('size'), number('chunk'), number('pause')))
      case '/digest':
        return new Response(await digest(request, number('pause')))
      case '/echo':
        return new Response(request.body)
      case '/wait':
        if (!request.signal.aborted) await once(request.signal, 'abort')
        return new Response('nobody waits for this')
      default:
        return new Response(null, { status: 404 })
    }
  }

  #stream(seed: number, size: number, chunk: number, pause: number): ReadableStream<Uint8Array> {
    let at = 0
    let open = true
    const end = () => {
      if (open) this.running--
      open = false
    }
    this.running++
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          if (pause > 0) await sleep(pause)
          if (!open) return
          const bytes = contentOf(seed, Math.min(chunk, size - at), at)
          at += bytes.length
          controller.enqueue(bytes)
          if (at < size) return
          controller.close()
          end()
        },
        cancel: end,
      },
      { highWaterMark: 0 },
    )
  }
}

async function digest(request: Request, pause: number): Promise<string> {
  const hash = createHash('sha256')
  let size = 0
  let rested = 0
  for await (const piece of request.body ?? []) {
    hash.update(piece)
    size += piece.length
    if (pause === 0 || size - rested < REST_AFTER) continue
    rested = size
    await sleep(pause)
  }
  return `${size} ${hash.digest('hex')}`
}
