import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { FetchHandler } from '../../../src/platform/handler.ts'
import { CUT_MESSAGE } from '../../../src/wire/message.ts'
import { parseTnetstring } from '../../../src/wire/tnetstring.ts'
import { Gate } from '../../support/gate.ts'
import { renderCredits, renderDisconnect, renderPart, renderRequest } from '../support/message.ts'
import { valuesOf } from '../support/reply.ts'
import { type Stage, setStage, turns, until } from '../support/stage.ts'

const KIB = 1024

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** The first message of an upload with a Content-Length, which brings what Mongrel2 had read with the head. */
const first = (length: number | string, body: string | Uint8Array = '', done = false) =>
  renderRequest({
    method: 'PUT',
    headers: {
      'content-length': String(length),
      UPLOAD_STREAM: '0',
      ...(done ? { UPLOAD_STREAM_DONE: '1' } : {}),
    },
    body,
  })

const firstOfChunks = () =>
  renderRequest({
    method: 'PUT',
    headers: { 'content-length': undefined, 'transfer-encoding': 'chunked', UPLOAD_STREAM: '0' },
  })

const read: FetchHandler = async (request) => new Response(await request.text())

/** What was said to connection 1 in extended replies. */
function controls(stage: Stage): unknown[] {
  return stage.publisher.replies
    .filter((reply) => reply.targets === 'X 1')
    .map((reply) => {
      const [, said] = parseTnetstring(reply.payload) as [string, Map<string, unknown>]
      return Object.fromEntries(said)
    })
}

const creditsOf = (stage: Stage) =>
  controls(stage).reduce<number>((sum, said) => sum + ((said as { credits?: number }).credits ?? 0), 0)

/** Credits for all that a socket may hold, with which Mongrel2 gets to the end of a connection that was closed. */
const TO_THE_END = 64 * KIB * KIB

/** How connection 1 was ended, if the last that was said to it does so in a way that Mongrel2 hears during a body. */
function endOf(stage: Stage): 'closed' | 'reset' | undefined {
  const [close, control] = stage.publisher.replies.slice(-2)
  const said = controls(stage).at(-1) as { credits?: number; cancel?: boolean } | undefined
  if (control?.targets !== 'X 1' || said?.credits !== TO_THE_END) return undefined
  if (said.cancel) return 'reset'
  return close?.targets === '1' && close.payload.length === 0 ? 'closed' : undefined
}

/** Lets so many milliseconds pass, in which something may happen every quarter of a second. */
async function pass(milliseconds: number): Promise<void> {
  for (let left = milliseconds; left > 0; left -= 250) {
    vi.advanceTimersByTime(Math.min(left, 250))
    await turns(3)
  }
}

/** A client goes on sending, as far as Mongrel2 is let: parts of 64 KiB from an offset on. */
class Sender {
  sent: number
  constructor(sent: number) {
    this.sent = sent
  }

  send(stage: Stage, size = 64 * KIB, last = false): void {
    stage.receive(renderPart(1, this.sent | 0, Buffer.alloc(size), last))
    this.sent += size
  }
}

/** The client's bytes without those said in extended replies. */
const statusOf = (stage: Stage) => stage.publisher.response(1).statusLine.split(' ')[1]

describe('a streamed upload', () => {
  it('starts the handler at once, and feeds the body with what follows', async () => {
    const gate = new Gate()
    const stage = setStage(async (request) => {
      const reader = request.body?.getReader()
      const pieces: string[] = []
      for (;;) {
        const piece = await reader?.read()
        if (piece === undefined || piece.done) return new Response(pieces.join('|'))
        pieces.push(Buffer.from(piece.value).toString())
        void gate.pass(String(pieces.length))
      }
    })
    stage.receive(first(11, 'one'))
    await gate.arrival('1')
    stage.receive(renderPart(1, 3, 'two!'))
    await gate.arrival('2')
    stage.receive(renderPart(1, 7, 'done', true))
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe('one|two!|done')
    expect(valuesOf(stage.publisher.response(1), 'connection')).toEqual([])
  })

  it('that came whole in its first message is read at once', async () => {
    const stage = setStage(read)
    stage.receive(first(5, 'whole', true), renderRequest({ target: '/next' }))
    await stage.settled()
    expect(stage.publisher.received(1).match(/HTTP\/1\.1 200/g)).toHaveLength(2)
    expect(controls(stage)).toEqual([])
  })

  it('in chunks begins without a byte, and ends its connection', async () => {
    const stage = setStage(read)
    stage.receive(firstOfChunks(), renderPart(1, 0, 'chunk'), renderPart(1, 5, '', true))
    await stage.settled()
    expect(valuesOf(stage.publisher.response(1), 'connection')).toEqual(['close'])
    expect(stage.publisher.received(1)).toContain('\r\n\r\nchunk')
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('that grows beyond a C int is followed as Mongrel2 counts it', async () => {
    const part = Buffer.alloc(2 * KIB * KIB)
    const count = 1030
    let size = 0
    const stage = setStage(
      async (request) => {
        for await (const piece of request.body ?? []) size += piece.length
        return new Response()
      },
      { uploadWindow: 1024 * KIB * KIB },
    )
    stage.receive(firstOfChunks())
    for (let n = 0; n < count; n++) {
      stage.receive(renderPart(1, (n * part.length) | 0, part))
      await until(() => size === (n + 1) * part.length)
    }
    stage.receive(renderPart(1, (count * part.length) | 0, '', true))
    await stage.settled()
    expect(size).toBe(count * part.length)
    expect(statusOf(stage)).toBe('200')
  })

  it('is given credit as it is read, never more than the window', async () => {
    const gate = new Gate()
    const stage = setStage(
      async (request) => {
        const reader = request.body?.getReader()
        for (let n = 1; ; n++) {
          await gate.pass(`${n}`)
          const piece = await reader?.read()
          if (piece?.done !== false) return new Response('read')
        }
      },
      { uploadWindow: 10 * KIB },
    )
    stage.receive(first(100 * KIB, Buffer.alloc(3 * KIB)))
    await gate.arrival('1')
    await turns(3)
    expect(creditsOf(stage)).toBe(0) // nobody has asked for a byte
    gate.open('1')
    await gate.arrival('2')
    await until(() => creditsOf(stage) === 7 * KIB) // what is there already counts
    stage.receive(renderPart(1, 3 * KIB, Buffer.alloc(7 * KIB)))
    await turns(3)
    expect(creditsOf(stage)).toBe(7 * KIB)
    gate.open('2')
    await gate.arrival('3')
    expect(creditsOf(stage)).toBe(7 * KIB) // 3 KiB are read and 7 wait: less than half of the window is free
    gate.open('3')
    await until(() => creditsOf(stage) === 17 * KIB)
    stage.receive(renderDisconnect(1))
    await stage.settled()
  })

  it('gets a wider window when its reader has kept up with a whole one, up to uploadWindow', async () => {
    let size = 0
    const stage = setStage(
      async (request) => {
        for await (const piece of request.body ?? []) size += piece.length
        return new Response()
      },
      { uploadWindow: KIB * KIB },
    )
    const sender = new Sender(0)
    const windows = new Set<number>()
    stage.receive(first(8 * KIB * KIB))
    while (sender.sent < 8 * KIB * KIB) {
      await until(() => size === sender.sent)
      await turns(3)
      windows.add((creditsOf(stage) - sender.sent) / KIB)
      sender.send(stage, 64 * KIB, sender.sent === 8 * KIB * KIB - 64 * KIB)
    }
    await stage.settled()
    // Down to half a window, then a grant; doubled after 256 KiB and after 512.
    expect([...windows]).toEqual([256, 192, 512, 448, 384, 320, 1024, 960, 896, 832, 768, 704, 640, 576])
  })

  it('keeps its first window while its reader lags behind', async () => {
    const gate = new Gate()
    let read = 0
    const stage = setStage(
      async (request) => {
        const reader = request.body?.getReader()
        for (;;) {
          await gate.pass('read')
          const piece = await reader?.read()
          if (piece?.done !== false) return new Response('read')
          read += piece.value.length
        }
      },
      { uploadWindow: KIB * KIB },
    )
    const sender = new Sender(0)
    const waiting: number[] = []
    stage.receive(first(8 * KIB * KIB))
    for (let n = 1; n <= 40; n++) {
      await gate.arrival('read')
      gate.open('read')
      await turns(5)
      while (creditsOf(stage) > sender.sent) sender.send(stage)
      await until(() => read === n * 64 * KIB)
      waiting.push(sender.sent - read)
    }
    expect(Math.max(...waiting)).toBe(192 * KIB)
    stage.receive(renderDisconnect(1))
    gate.open('read')
    await stage.settled()
  })

  it('whose chunk overdraws its credit gets as much less later', async () => {
    const gate = new Gate()
    const stage = setStage(
      async (request) => {
        const reader = request.body?.getReader()
        await reader?.read()
        await gate.pass('read')
        return new Response((await reader?.read())?.done === false ? 'more' : 'end')
      },
      { uploadWindow: 1024 },
    )
    stage.receive(firstOfChunks())
    await until(() => creditsOf(stage) === 1024)
    stage.receive(renderPart(1, 0, Buffer.alloc(5000)))
    await gate.arrival('read')
    gate.open('read')
    await until(() => creditsOf(stage) === 6024) // 1024 more than what came
    stage.receive(renderPart(1, 5000, '', true))
    await stage.settled()
  })
})

describe('a streamed upload that nobody reads', () => {
  const answer: FetchHandler = () => new Response('enough')
  const answered = (stage: Stage) => until(() => stage.publisher.received(1).includes('enough'))

  it('of which little is missing is thrown away after the answer, and its connection is used again', async () => {
    const stage = setStage(answer)
    stage.receive(first(50 * KIB, Buffer.alloc(10)))
    await answered(stage)
    expect(valuesOf(stage.publisher.response(1), 'connection')).toEqual([])
    await until(() => creditsOf(stage) > 0)
    stage.receive(renderPart(1, 10, Buffer.alloc(50 * KIB - 10), true), renderRequest({ target: '/next' }))
    await stage.settled()
    expect(stage.publisher.received(1).match(/enough/g)).toHaveLength(2)
    expect(endOf(stage)).toBeUndefined()
  })

  it.each<[what: string, bytes: Buffer, announced: boolean]>([
    ['1 MiB', first(KIB * KIB), false],
    ['over 1 MiB', first(KIB * KIB + 1), true],
    ['an unknown length, in chunks', firstOfChunks(), true],
  ])('of %s is answered with or without an announced end', async (_what, bytes, announced) => {
    const stage = setStage(answer)
    stage.receive(bytes)
    await answered(stage)
    expect(valuesOf(stage.publisher.response(1), 'connection')).toEqual(announced ? ['close'] : [])
  })

  it.each<[what: string, bytes: Buffer]>([
    ['little', first(50 * KIB, Buffer.alloc(10))],
    ['much', first(5000 * KIB)],
  ])('of which %s is missing is given up when nothing comes for five seconds', async (_what, bytes) => {
    const stage = setStage(answer)
    stage.receive(bytes)
    await until(() => creditsOf(stage) > 0)
    await pass(4900)
    expect(endOf(stage)).toBeUndefined()
    await pass(1200)
    expect(endOf(stage)).toBe('closed')
    expect(stage.epoch.connections.size).toBe(0)
  })

  it('is given up only when its answer was published', async () => {
    const stage = setStage(() => new Response(Buffer.alloc(150_000)), { flowControl: true })
    stage.receive(first(5000 * KIB))
    await until(() => creditsOf(stage) > 0)
    await pass(60_000)
    expect(endOf(stage)).toBeUndefined()
    stage.receive(renderCredits(1, 102_400))
    await pass(6100)
    expect(endOf(stage)).toBe('closed')
  })

  const unending = (scheme: string) =>
    renderRequest({
      method: 'PUT',
      headers: { 'content-length': String(500_000 * KIB), UPLOAD_STREAM: '0', URL_SCHEME: scheme },
    })
  it.each<[what: string, end: 'closed' | 'reset', bytes: Buffer[]]>([
    ['its client is reset then', 'reset', [unending('http')]],
    ['its client of TLS is sent away then', 'closed', [unending('https')]],
    ['its client that sent another before is sent away then', 'closed', [first(5, 'whole', true), unending('http')]],
  ])('is thrown away for half a minute from when the answer was delivered, and %s', async (_what, end, bytes) => {
    const stage = setStage(answer, { flowControl: true })
    stage.receive(...bytes)
    await until(() => stage.publisher.received(1).match(/enough/g)?.length === bytes.length)
    const sender = new Sender(0)
    const sendFor = async (milliseconds: number) => {
      for (let left = milliseconds; left > 0; left -= 1000) {
        while (creditsOf(stage) - sender.sent >= 64 * KIB) {
          sender.send(stage)
          await turns(2)
          if (sender.sent % (640 * KIB) === 0) break // so much a second
        }
        await pass(1000)
      }
    }
    await sendFor(10_000)
    stage.receive(renderCredits(1, stage.publisher.received(1).length))
    await sendFor(30_000)
    expect(endOf(stage)).toBeUndefined()
    while (endOf(stage) === undefined && creditsOf(stage) > sender.sent) {
      sender.send(stage)
      await turns(3)
    }
    expect(endOf(stage)).toBe(end)
    expect(stage.epoch.connections.size).toBe(0)
  })

  it.each<[what: string, bytes: Buffer]>([
    ['of unknown length', firstOfChunks()],
    ['whose client is slow', first(500_000 * KIB)],
  ])('%s is closed then', async (_what, bytes) => {
    const stage = setStage(answer)
    stage.receive(bytes)
    await answered(stage)
    const sender = new Sender(0)
    for (let second = 0; second < 31; second++) {
      expect(endOf(stage)).toBeUndefined()
      sender.send(stage, 1000)
      await pass(1000)
    }
    await pass(2000)
    expect(endOf(stage)).toBe('closed')
  })

  it('is thrown away by a large window, whatever uploadWindow says', async () => {
    const stage = setStage(answer, { uploadWindow: 1024 })
    stage.receive(first(5000 * KIB))
    await until(() => creditsOf(stage) === 256 * KIB)
  })

  it("is nobody's to read when a streamed answer has begun half a second ago", async () => {
    let failure: unknown
    const gate = new Gate()
    const stage = setStage(
      (request) =>
        new Response(
          new ReadableStream({
            async start(controller) {
              controller.enqueue(Buffer.from('begun'))
              await gate.pass('late')
              failure = await request.text().catch((error: unknown) => error)
              controller.close()
            },
          }),
        ),
    )
    stage.receive(first(5000 * KIB, 'first'))
    await until(() => stage.publisher.received(1).includes('begun'))
    expect(valuesOf(stage.publisher.response(1), 'connection')).toEqual(['close'])
    await pass(499)
    expect(creditsOf(stage)).toBe(0)
    await pass(1)
    expect(creditsOf(stage)).toBe(256 * KIB)
    gate.open('late')
    await until(() => failure !== undefined)
    expect(failure).toMatchObject({ code: 'upload_unavailable' })
  })

  it('before, it can still be', async () => {
    const gate = new Gate()
    const stage = setStage(
      (request) =>
        new Response(
          new ReadableStream({
            async start(controller) {
              controller.enqueue(Buffer.from('begun '))
              await gate.pass('late')
              controller.enqueue(Buffer.from(await request.text()))
              controller.close()
            },
          }),
        ),
    )
    stage.receive(first(11, 'first'))
    await until(() => stage.publisher.received(1).includes('begun'))
    await pass(250)
    gate.open('late')
    await until(() => creditsOf(stage) > 0)
    await pass(1000)
    stage.receive(renderPart(1, 5, ' last.', true))
    await stage.settled()
    expect(stage.publisher.received(1)).toContain('first last.')
  })

  it('any more behind a head that announced no end closes the connection all the same', async () => {
    const stage = setStage((request) => {
      const reader = request.body?.getReader()
      return new Response(
        new ReadableStream({
          async pull(controller) {
            controller.enqueue((await reader?.read())?.value)
            await reader?.read()
            controller.close()
          },
        }),
      )
    })
    stage.receive(first(5000 * KIB, 'first'))
    await until(() => creditsOf(stage) > 0)
    expect(valuesOf(stage.publisher.response(1), 'connection')).toEqual([])
    stage.receive(renderPart(1, 5, 'second'))
    await until(() => stage.publisher.received(1).endsWith('\r\n0\r\n\r\n'))
    stage.receive(renderRequest({ target: '/next' }))
    await pass(6100)
    expect(endOf(stage)).toBe('closed')
  })

  it.each<[what: string, handler: FetchHandler]>([
    ['an error', () => Promise.reject(new Error('failed'))],
    ['no content', () => new Response(null, { status: 204 })],
    ['a response of the platform', () => new Response(new Blob(['enough']).stream())],
    [
      'a body read in part',
      async (request) => {
        await request.body?.getReader().read()
        return new Response('enough')
      },
    ],
    [
      'a body that was cancelled',
      async (request) => {
        await request.body?.cancel()
        return new Response('enough')
      },
    ],
    [
      'a body read in part, and the rest left',
      async (request) => {
        const reader = request.body?.getReader()
        await reader?.read()
        reader?.releaseLock()
        return new Response('enough')
      },
    ],
  ])('because of %s is answered with an announced end', async (_what, handler) => {
    const stage = setStage(handler)
    stage.receive(first(5000 * KIB, 'first'))
    await until(() => stage.publisher.received(1).includes('\r\n\r\n'))
    expect(valuesOf(stage.publisher.response(1), 'connection')).toEqual(['close'])
    await until(() => creditsOf(stage) > 0)
    stage.receive(renderPart(1, 5, Buffer.alloc(5000 * KIB - 5), true))
    await stage.settled()
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('is drained before the connection is closed where the answer is the last', async () => {
    const stage = setStage(() => new Response('enough', { headers: { connection: 'close' } }))
    stage.receive(first(50 * KIB, Buffer.alloc(10)))
    await until(() => creditsOf(stage) > 0)
    expect(stage.publisher.payloadsFor(1).at(-1)?.length).not.toBe(0)
    stage.receive(renderPart(1, 10, Buffer.alloc(50 * KIB - 10), true))
    await stage.settled()
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('goes on for as long as waitUntil waits for what reads it', async () => {
    let text = ''
    const stage = setStage((request, _env, ctx) => {
      ctx.waitUntil(
        request.text().then((all) => {
          text = all
        }),
      )
      return new Response('accepted', { status: 202 })
    })
    stage.receive(first(10, 'first'))
    await until(() => stage.publisher.replies.length > 0)
    vi.advanceTimersByTime(10_000)
    await turns(3)
    stage.receive(renderPart(1, 5, ' last', true))
    await stage.settled()
    expect(text).toBe('first last')
    expect(stage.publisher.closed(1)).toBe(false)
  })

  it('is an error for who reads it behind the back of waitUntil', async () => {
    let failure: unknown
    const stage = setStage((request) => {
      void request.text().catch((error: unknown) => {
        failure = error
      })
      return new Response('early')
    })
    stage.receive(first(100, 'first'))
    await until(() => failure !== undefined)
    expect(failure).toMatchObject({ code: 'upload_unavailable' })
    await pass(6100)
    expect(stage.epoch.connections.size).toBe(0)
  })

  it('is given up when the reader cancels it', async () => {
    const stage = setStage(async (request) => {
      await request.body?.cancel()
      return new Response('cancelled')
    })
    stage.receive(first(20, 'first'))
    await until(() => creditsOf(stage) > 0)
    stage.receive(renderPart(1, 5, Buffer.alloc(15), true))
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe('cancelled')
  })
})

describe('a streamed upload that breaks', () => {
  it('off with its client errors the body and aborts the signal', async () => {
    let failure: unknown
    let signal: AbortSignal | undefined
    const stage = setStage(async (request) => {
      signal = request.signal
      await request.text().catch((error: unknown) => {
        failure = error
      })
      return new Response()
    })
    stage.receive(first(100, 'first'))
    await turns(3)
    stage.receive(renderDisconnect(1))
    await until(() => failure !== undefined)
    expect(failure).toMatchObject({ name: 'AbortError' })
    expect(signal?.aborted).toBe(true)
    expect(stage.epoch.connections.size).toBe(0)
  })

  it.each<[what: string, parts: Buffer[]]>([
    ['a gap', [renderPart(1, 6, 'x')]],
    ['a repeat', [renderPart(1, 5, 'x'), renderPart(1, 5, 'x')]],
    ['an offset that is no number', [renderPart(1, 'five', 'x')]],
    ['a negative offset', [renderPart(1, -5, 'x')]],
    ['an end that comes early', [renderPart(1, 5, 'x', true)]],
    ['more than its length', [renderPart(1, 5, Buffer.alloc(96), true)]],
  ])('by %s is refused, and its connection ends', async (_what, parts) => {
    let failure: unknown
    const stage = setStage(async (request) => {
      failure = await request.text().catch((error: unknown) => error)
      throw failure
    })
    stage.receive(first(100, 'first'), ...parts)
    await until(() => stage.publisher.replies.length > 0)
    expect(statusOf(stage)).toBe('400')
    await pass(6100)
    expect(stage.epoch.connections.size).toBe(0)
    expect(stage.publisher.closed(1)).toBe(true)
    expect(failure).toMatchObject({ code: 'upload_unavailable' })
    expect(stage.application.counters.rejected).toBe(1)
  })

  it('because its beginning did not come here is ended and counted', async () => {
    const stage = setStage(read)
    stage.receive(renderPart(1, 4096, 'x'), renderPart(2, 4096, 'x', true))
    await turns(3)
    expect(stage.publisher.replies.map(({ targets }) => targets)).toEqual(['X 1', '2'])
    expect(stage.application.counters).toMatchObject({ requests: 0, rejected: 2 })
    stage.receive(renderPart(1, 4097, Buffer.alloc(100 * KIB)))
    await pass(4900)
    expect(endOf(stage)).toBeUndefined()
    await pass(1200)
    expect(endOf(stage)).toBe('closed')
    expect(stage.epoch.connections.size).toBe(0)
  })

  it.each<[why: string, status: string, bytes: Buffer]>([
    ['its Host is missing', '400', renderRequest({ method: 'PUT', headers: { host: undefined, UPLOAD_STREAM: '0' } })],
    ['it is too large', '413', first(2000, 'x')],
  ])('because %s is refused and drained', async (_why, status, bytes) => {
    const stage = setStage(
      () => {
        throw new Error('not reached')
      },
      { maxBodySize: 1000 },
    )
    stage.receive(bytes)
    await until(() => stage.publisher.replies.length > 0)
    expect(statusOf(stage)).toBe(status)
    expect(valuesOf(stage.publisher.response(1), 'connection')).toEqual(['close'])
    await pass(6100)
    expect(endOf(stage)).toBe('closed')
    expect(stage.epoch.connections.size).toBe(0)
    expect(stage.application.counters).toMatchObject({ requests: 0, rejected: 1 })
  })

  it('in chunks over maxBodySize is a 413 when it gets there', async () => {
    const stage = setStage(async (request) => new Response(await request.text()), { maxBodySize: 10 })
    stage.receive(firstOfChunks(), renderPart(1, 0, Buffer.alloc(11)))
    await until(() => stage.publisher.replies.some(({ targets }) => targets === '1'))
    expect(stage.publisher.received(1)).toContain('HTTP/1.1 413 ')
    await pass(6100)
    expect(stage.epoch.connections.size).toBe(0)
  })

  it('because the link has cut a part is a 413, also where the part is the last', async () => {
    const stage = setStage(read)
    stage.receive(firstOfChunks())
    await turns(3)
    stage.receive(renderPart(1, 0, Buffer.alloc(2 * CUT_MESSAGE), true).subarray(0, CUT_MESSAGE))
    await until(() => stage.publisher.received(1).includes('HTTP/1.1 413 '))
  })

  it('because the server stops is a 503', async () => {
    const stage = setStage(read)
    stage.receive(first(100, 'first'))
    await turns(3)
    stage.epoch.closing.stopPulling()
    await until(() => stage.publisher.received(1).includes('503'))
  })
})

describe('a body whose client takes its time', () => {
  it('is a 408 when nothing comes for bodyTimeout while it is read, and its handler is told', async () => {
    let signal: AbortSignal | undefined
    let fault: unknown
    const stage = setStage(
      async (request) => {
        signal = request.signal
        await request.text().catch((error: unknown) => {
          fault = error
        })
        return new Response('too late')
      },
      { bodyTimeout: 10_000 },
    )
    stage.receive(first(300_000, 'x'))
    await turns(3)
    await pass(9_500)
    stage.receive(renderPart(1, 1, 'y'))
    await pass(9_500)
    expect([signal?.aborted, stage.publisher.received(1)]).toEqual([false, ''])
    await pass(1000)
    expect(stage.publisher.response(1).statusLine).toBe('HTTP/1.1 408 Request Timeout')
    expect([signal?.aborted, String(fault)]).toEqual([true, expect.stringContaining('did not come in time')])
    await pass(10_000)
    expect(endOf(stage)).toBeDefined()
    expect(stage.application.admission.inFlight).toBe(0)
  })

  it('has all the time while its handler does not read, and with bodyTimeout 0', async () => {
    const gate = new Gate()
    const slow = setStage(
      async (request) => {
        await gate.pass('read')
        return new Response(await request.text())
      },
      { bodyTimeout: 10_000 },
    )
    slow.receive(first(300_000, 'x'))
    const patient = setStage(read, { bodyTimeout: 0 })
    patient.receive(first(300_000, 'x'))
    await pass(60_000)
    expect([slow.publisher.received(1), patient.publisher.received(1)]).toEqual(['', ''])
  })

  it('is not kept alive meanwhile, but asked for', async () => {
    const stage = setStage(read, { bodyTimeout: 0, keepAliveInterval: 10_000 })
    stage.receive(first(300_000, 'x'))
    await turns(3)
    await pass(21_000)
    expect(controls(stage)).toEqual([{ credits: expect.any(Number) }, { credits: 0 }, { credits: 0 }])
  })
})
