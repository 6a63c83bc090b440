import { upgradeWebSocket } from '../../src/index.ts'
import type { LoadedApp } from '../../src/workers/worker/worker-config.ts'

/** The app for `observedLoad`, alone or in workers. */
export async function fetch(request: Request): Promise<Response> {
  const [, what, rest] = new URL(request.url).pathname.split('/')
  switch (what) {
    case 'status':
      return new Response(rest === '304' ? null : 'a status', { status: Number(rest) })
    case 'throws':
      throw new Error('as the test wants')
    case 'stream':
      return new Response(ReadableStream.from(parts(10)))
    case 'endless':
      return new Response(ReadableStream.from(parts(Number.POSITIVE_INFINITY)))
    case 'echo':
      return new Response(await request.arrayBuffer())
    case 'never':
      return await new Promise<Response>(() => {})
    case 'socket':
      return upgradeWebSocket(request).response
    default:
      return new Response('Hello')
  }
}

export default (): LoadedApp => ({ handler: fetch })

async function* parts(count: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < count; at++) {
    yield Buffer.from(`part ${at}\n`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}
