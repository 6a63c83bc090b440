import { setTimeout as sleep } from 'node:timers/promises'
import type { Mongrel2Options } from '../../src/index.ts'
import type { Answer } from './upload-clients.ts'

const MAX_BODY_SIZE = 500_000

/** The options by which answers of `UNREAD` come about, by their paths; the others need none. */
export const UNREAD_OPTIONS: Readonly<Record<string, Partial<Mongrel2Options>>> = {
  '/too-large': { maxBodySize: MAX_BODY_SIZE },
  '/late': { requestTimeout: 1000 },
}

/** What `answerUnread` answers to a body that it does not read, or not to its end, by the path that is asked for. */
export const UNREAD: Readonly<Record<string, Answer>> = {
  '/too-large': { status: 413, text: `Bodies may have ${MAX_BODY_SIZE} bytes` },
  '/forbidden': { status: 403, text: 'forbidden' },
  '/stream': { status: 200, text: 'one two three' },
  '/part': { status: 200, text: 'part' },
  '/late': { status: 504, text: 'Gateway Timeout' },
  '/fails': { status: 500, text: 'Internal Server Error' },
}

/** Answers uploads without reading them to their end, and any other path with a page. */
export async function answerUnread(request: Request): Promise<Response> {
  switch (new URL(request.url).pathname) {
    case '/forbidden':
      return new Response('forbidden', { status: 403 })
    case '/stream':
      return new Response(
        new ReadableStream({
          async start(controller) {
            for (const word of ['one', ' two', ' three']) {
              controller.enqueue(Buffer.from(word))
              await sleep(50)
            }
            controller.close()
          },
        }),
      )
    case '/part':
      await request.body?.getReader().read()
      return new Response('part')
    case '/late':
      return await new Promise(() => {})
    case '/too-large': // says nothing of its size when it comes in chunks
      return new Response(await request.text())
    case '/fails':
      throw new Error('on purpose')
    default:
      return new Response('<!doctype html><title>page</title>', { headers: { 'content-type': 'text/html' } })
  }
}
