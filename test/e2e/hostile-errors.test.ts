import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Mongrel2Server } from '../../src/index.ts'
import { lacks } from '../support/embedded.ts'
import { HOSTILE } from '../support/hostile-values.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { RawClient, request } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

let mongrel2: Mongrel2
let server: Mongrel2Server
let lines: string[] = []
/** What is thrown next. */
let make: () => unknown = () => new Error('broken')
/** Whether the logger throws, too. */
let mute = false

const log = (line: string) => {
  if (mute) throw new Error('no log')
  lines.push(line)
}

/** Fails in the way that the path names. */
const WAYS: Record<string, (ctx: { waitUntil(promise: Promise<unknown>): void }) => unknown> = {
  '/throw': () => {
    throw make()
  },
  '/reject': () => Promise.reject(make()),
  '/return': () => make(),
  '/on-error': () => {
    throw make()
  },
  '/stream': () => new Response(failing(0)),
  '/late-stream': () => new Response(failing(1)),
  '/wait': (ctx) => {
    ctx.waitUntil(Promise.reject(make()))
    return new Response('waits')
  },
  '/fine': () => new Response('fine'),
}

/** A stream that fails behind so many chunks. */
function failing(chunks: number): ReadableStream<Uint8Array> {
  let left = chunks
  return new ReadableStream(
    {
      async pull(controller) {
        await new Promise((resolve) => setImmediate(resolve))
        if (left-- === 0) throw make()
        controller.enqueue(Buffer.from('chunk'))
      },
    },
    { highWaterMark: 0 },
  )
}

const pathOf = (request: Request) => new URL(request.url).pathname

beforeAll(async () => {
  mongrel2 = await startMongrel2()
  server = serveMongrel2(
    // A handler may do what its types do not say.
    (request, _env, ctx) => WAYS[pathOf(request)]?.(ctx) as Response,
    {
      zeromq: mongrel2.endpoint,
      chroot: mongrel2.directory,
      logger: { warn: log, error: log },
      onError: (_error, request) => {
        if (pathOf(request) === '/on-error') throw make()
        return undefined
      },
      onUploadStart: () => {
        throw make()
      },
    },
  )
  await server.ready
})

afterAll(async () => {
  await server.close()
  await mongrel2.stop()
})

beforeEach(() => {
  lines = []
  mute = false
})

/** The status of an answer; `cut` when its connection ends before it is complete. */
async function outcomeOf(target: string, method = 'GET', body = ''): Promise<number | 'cut'> {
  using client = new RawClient(mongrel2.port)
  const length = method === 'POST' ? `Content-Length: ${body.length}\r\n` : ''
  client.send(request(target, method, length) + body)
  return await client.response().then(
    ({ status }) => status,
    () => 'cut',
  )
}

describe.each(HOSTILE)('%s', (_what, value) => {
  beforeEach(() => {
    make = value
  })

  it.each([
    ['a handler throws it', '/throw', 500],
    ['a handler rejects with it', '/reject', 500],
    ['a handler returns it', '/return', 500],
    ['onError throws it', '/on-error', 500],
    ['a stream fails with it', '/stream', 'cut'],
    ['a stream fails with it after its head was sent', '/late-stream', 'cut'],
    ['work in the background rejects with it', '/wait', 200],
  ])('is survived when %s', async (_when, target, outcome) => {
    expect([await outcomeOf(target), await outcomeOf('/fine')]).toEqual([outcome, 200])
  })

  it.skipIf(lacks('stored uploads'))('is survived when onUploadStart throws it', async () => {
    expect(await outcomeOf('/fine', 'POST', 'x'.repeat(30_000))).toBe(500)
  })

  it('is survived when the logger throws, too', async () => {
    mute = true
    expect([await outcomeOf('/throw'), await outcomeOf('/fine')]).toEqual([500, 200])
  })
})

it('what an exception says cannot forge a line', async () => {
  // One line a second is said of what a stranger can bring about.
  await expect
    .poll(async () => {
      make = () => new Error('one\n\x1b[2Jmongrel2-fetch: forged')
      await outcomeOf('/throw')
      return lines.length
    })
    .toBeGreaterThan(0)
  const [line = ''] = lines
  expect(line).toMatch(
    /^mongrel2-fetch: the handler failed on GET http:\/\/localhost\/throw: Error: one\\x0a\\x1b\[2Jmongrel2-fetch: forged\n {4}at /,
  )
  expect(line.split('\n').slice(1)).toSatisfy((others: string[]) =>
    others.every((other) => other.startsWith('    at ')),
  )
})
