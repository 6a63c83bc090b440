import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { renderCredits, renderDisconnect, renderRequest } from '../support/message.ts'
import { parseResponse } from '../support/reply.ts'
import { type FakePublisher, type Stage, setStage, turns, until } from '../support/stage.ts'

// Time stands still but when a test lets it go on; turns of the event loop do not.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const WINDOW = 102_400

/** A body that gives a chunk in each turn of the event loop, as fast as it is read. */
function steadyBody(chunks: number, size: number, ends = true): ReadableStream<Uint8Array> {
  let given = 0
  return new ReadableStream({
    async pull(controller) {
      await turns()
      if (given < chunks) controller.enqueue(Buffer.alloc(size, 97 + (given % 26)))
      else if (ends) controller.close()
      given++
    },
  })
}

/** What such a body says. */
function steadyText(chunks: number, size: number): string {
  return Array.from({ length: chunks }, (_, number) => String.fromCharCode(97 + (number % 26)).repeat(size)).join('')
}

/** The text of a chunked response, its last chunk included. */
function unchunked(received: string): string {
  const parsed = parseResponse(received)
  expect(parsed.fields).toContainEqual(['transfer-encoding', 'chunked'])
  let text = ''
  for (let rest = parsed.rest; ; ) {
    const [size = ''] = rest.split('\r\n', 1)
    const start = size.length + 2
    const length = Number.parseInt(size, 16)
    text += rest.slice(start, start + length)
    rest = rest.slice(start + length + 2)
    if (length === 0) {
      expect(rest).toBe('')
      return text
    }
  }
}

/** Lets time go on, some milliseconds a step with the turns they bring, until something holds. */
async function pass(step: number, holds: () => boolean): Promise<void> {
  for (let count = 0; !holds(); count++) {
    if (count === 5000) throw new Error(`did not come about: ${holds}`)
    await turns(3)
    vi.advanceTimersByTime(step)
  }
}

const countOf = (publisher: FakePublisher) => publisher.payloadsFor(1).length

describe('without flow control', () => {
  it('a few messages of a stream go out at once, the rest is gathered until they are delivered', async () => {
    const stage = setStage(() => new Response(steadyBody(300, 10)))
    stage.receive(renderRequest())
    await turns(200)
    const atOnce = countOf(stage.publisher)
    expect(atOnce).toBeGreaterThanOrEqual(5)
    expect(atOnce).toBeLessThanOrEqual(15)
    await turns(500)
    expect(countOf(stage.publisher)).toBeLessThanOrEqual(15)
    await pass(10, () => stage.publisher.received(1).endsWith('\r\n0\r\n\r\n'))
    expect(countOf(stage.publisher)).toBeLessThan(25)
    expect(unchunked(stage.publisher.received(1))).toBe(steadyText(300, 10))
    await stage.settled()
  })

  it.each([
    [2000, 10],
    [300, 2000],
    [60, 100_000],
  ])(
    'a stream of %d chunks of %d bytes never has more than 15 messages wait for a slow client',
    async (chunks, size) => {
      const stage = setStage(() => new Response(steadyBody(chunks, size)))
      // A client at 16 KiB/s behind sockets that hold 32 KiB, and a Mongrel2 that needs 100 ms for a message.
      let idleAt = 0
      let deliveries: number[] = []
      let most = 0
      stage.publisher.onPublish = (replies) => {
        const now = performance.now()
        for (const { payload } of replies) {
          idleAt = Math.max(idleAt, now) + payload.length / 16.384
          deliveries.push(Math.max(now + 100, idleAt - 2000))
        }
        deliveries = deliveries.filter((delivery) => delivery > now)
        most = Math.max(most, deliveries.length)
      }
      stage.receive(renderRequest())
      await pass(50, () => stage.publisher.received(1).endsWith('\r\n0\r\n\r\n'))
      expect(most).toBeLessThanOrEqual(15)
      expect(most).toBeGreaterThan(1)
      expect(unchunked(stage.publisher.received(1))).toBe(steadyText(chunks, size))
    },
  )

  it('a stream that waits for its turn leaves no timer behind when its Mongrel2 is gone', async () => {
    const stage = setStage(() => new Response(steadyBody(1000, 10)))
    stage.receive(renderRequest())
    await turns(200)
    const before = vi.getTimerCount()
    stage.epoch.lost()
    await stage.settled()
    expect([before > 1, vi.getTimerCount()]).toEqual([true, 0])
  })

  it('the close takes the 16th place, after all the rest', async () => {
    const stage = setStage(() => new Response(steadyBody(100, 10)))
    stage.receive(renderRequest({ headers: { connection: 'close' } }))
    let outstanding: number[] = []
    let most = 0
    stage.publisher.onPublish = (replies) => {
      const now = performance.now()
      outstanding = outstanding.filter((published) => published + 150 > now).concat(replies.map(() => now))
      most = Math.max(most, outstanding.length)
    }
    await pass(5, () => stage.publisher.closed(1))
    await stage.settled()
    expect(unchunked(stage.publisher.received(1))).toBe(steadyText(100, 10))
    expect(most).toBeLessThanOrEqual(16)
    expect(stage.publisher.payloadsFor(1).filter((payload) => payload.length === 0)).toHaveLength(1)
  })

  it('answers to one after the other do not wait: who asks again has read the answer before', async () => {
    const stage = setStage(() => new Response('an answer'))
    for (let request = 0; request < 50; request++) {
      stage.receive(renderRequest())
      await stage.settled()
    }
    expect(countOf(stage.publisher)).toBe(50)
  })

  it('answers to pipelined requests do wait, as chunks of a stream do', async () => {
    const open: (() => void)[] = []
    const stage = setStage(async () => {
      await new Promise<void>((resolve) => open.push(resolve))
      return new Response('an answer')
    })
    stage.receive(...Array.from({ length: 50 }, () => renderRequest()))
    for (let request = 0; request < 50; request++) {
      open[request]?.()
      await turns(5)
    }
    expect(countOf(stage.publisher)).toBeGreaterThan(1)
    expect(countOf(stage.publisher)).toBeLessThanOrEqual(15)
    await pass(10, () => stage.publisher.received(1).split('an answer').length === 51)
    expect(countOf(stage.publisher)).toBeLessThan(25)
    await stage.settled()
  })

  it('answers to the first of pipelined requests count though these seemed to come one after the other', async () => {
    const open: (() => void)[] = []
    const stage = setStage(async () => {
      await new Promise<void>((resolve) => open.push(resolve))
      return new Response('an answer')
    })
    for (let request = 0; request < 50; request++) {
      stage.receive(renderRequest())
      await turns()
      if (request >= 5) continue
      open[request]?.()
      await stage.settled()
    }
    for (let request = 5; request < 50; request++) {
      open[request]?.()
      await turns(5)
    }
    expect(countOf(stage.publisher)).toBe(8) // the first five and three more; the others gather
    await pass(10, () => stage.publisher.received(1).split('an answer').length === 51)
    await stage.settled()
  })

  it('answers to a client that pipelined before count until it must have read them, and no longer', async () => {
    const large = 'x'.repeat(60 * 1024)
    const stage = setStage(() => new Response(large))
    stage.receive(renderRequest(), renderRequest())
    await until(() => stage.publisher.received(1).split(large).length === 3)
    // One after the other, as a client asks that sends each ahead of what it reads: no more than may wait go out.
    for (let count = 1; count <= 40; count++) {
      stage.receive(renderRequest())
      await turns(5)
    }
    expect(countOf(stage.publisher)).toBeLessThanOrEqual(15)
    await pass(240, () => stage.publisher.received(1).split(large).length === 43)
    await stage.settled()
  })
  it('a wait that became needless does not hold up what has to wait later', async () => {
    const stage = setStage((request) => {
      if (request.url.endsWith('/events')) return new Response(steadyBody(26, 10, false))
      return new Response(new ReadableStream({ pull: large }, { highWaterMark: 0 }))
    })
    let pulled = 0
    // Its end makes the last of it go out, though a minute has been set for the first of it to be read.
    const large = async (controller: ReadableStreamDefaultController) => {
      await turns(2)
      controller.enqueue(Buffer.alloc(pulled++ === 0 ? 1024 * 1024 : 10, 'x'))
      if (pulled === 10) controller.close()
    }
    stage.receive(renderRequest())
    await pass(50, () => stage.publisher.received(1).endsWith('\r\n0\r\n\r\n'))
    stage.receive(renderRequest({ target: '/events' }))
    await turns(200)
    const begun = performance.now()
    await pass(10, () => stage.publisher.received(1).includes('z'.repeat(10)))
    expect(performance.now() - begun).toBeLessThan(10_000)
    stage.receive(renderDisconnect(1))
  })

  it('a body is not read further ahead than maxBufferedBytes', async () => {
    let given = 0
    const chunk = new Uint8Array(1024 * 1024)
    const stage = setStage(
      () =>
        new Response(
          new ReadableStream(
            {
              async pull(controller) {
                await turns()
                given++
                controller.enqueue(chunk)
              },
            },
            { highWaterMark: 0 },
          ),
        ),
    )
    stage.receive(renderRequest())
    await turns(2000)
    const published = stage.publisher.received(1).length
    const before = given
    expect(given * chunk.length - published).toBeLessThanOrEqual(10 * 1024 * 1024)
    await turns(200)
    expect(given).toBe(before)
    stage.epoch.lost()
    await stage.settled()
  })
})

describe('a full publisher', () => {
  it('holds a stream up until it is drained', async () => {
    const stage = setStage(() => new Response(steadyBody(20, 10)))
    stage.publisher.full = true
    stage.receive(renderRequest())
    await turns(100)
    const before = stage.publisher.received(1)
    expect(before.endsWith('0\r\n\r\n')).toBe(false)
    expect(before.match(/a{10}|b{10}|c{10}/g) ?? []).toHaveLength(1)
    stage.publisher.drain()
    await pass(10, () => stage.publisher.received(1).endsWith('0\r\n\r\n'))
    expect(unchunked(stage.publisher.received(1))).toBe(steadyText(20, 10))
  })

  it('that a stream has filled itself is not given the next chunk alone', async () => {
    const body = new ReadableStream<Uint8Array>(
      { pull: (controller) => controller.enqueue(Buffer.alloc(1000)) },
      { highWaterMark: 0 },
    )
    const stage = setStage(() => new Response(body), { maxBufferedBytes: 100_000 })
    stage.publisher.onPublish = () => {
      stage.publisher.full = true
    }
    const sizes = () => stage.publisher.payloadsFor(1).map((payload) => Math.round(payload.length / 10_000))
    stage.receive(renderRequest())
    await turns(20)
    expect(sizes()).toEqual([10])
    stage.publisher.drain()
    await turns(20)
    expect(sizes()).toEqual([10, 10])
    stage.epoch.lost()
    stage.publisher.drain()
    await stage.settled()
  })
})

describe('with flow control', () => {
  const FIRST = { DOWNLOAD_CREDITS: String(WINDOW) }

  /** Follows what Mongrel2 has not written yet, as it counts itself. */
  function follow(stage: Stage): { outstanding: number; most: number; messages: number[] } {
    const state = { outstanding: 0, most: 0, messages: [] as number[] }
    stage.publisher.onPublish = (replies) => {
      for (const { payload } of replies) {
        if (payload.length > 0) state.messages.push(payload.length)
        state.outstanding += payload.length
        state.most = Math.max(state.most, state.outstanding)
      }
    }
    return state
  }

  /** Writes the oldest message to the client. */
  function deliver(stage: Stage, state: { outstanding: number; messages: number[] }): void {
    const bytes = state.messages.shift() ?? 0
    state.outstanding -= bytes
    stage.receive(renderCredits(1, bytes))
  }

  it.each([
    ['known from the first request', {}, FIRST],
    ['known from the options', { flowControl: true }, {}],
  ])('%s, a large answer is cut at 102,400 bytes and continued as they are written', async (_how, options, headers) => {
    const text = steadyText(1000, 1000)
    const stage = setStage(() => new Response(text), options)
    const state = follow(stage)
    stage.receive(renderRequest({ headers }))
    await until(() => state.outstanding > 0)
    await turns(50)
    expect([state.outstanding, state.messages.length]).toEqual([WINDOW, 1])
    while (state.messages.length > 0) {
      deliver(stage, state)
      await turns(3)
    }
    await stage.settled()
    expect(state.most).toBe(WINDOW)
    expect(parseResponse(stage.publisher.received(1)).rest).toBe(text)
  })

  it('is known for all connections once one of them told', async () => {
    const stage = setStage(() => new Response('a'.repeat(WINDOW)))
    stage.receive(renderRequest({ connectionId: 2, headers: FIRST }))
    stage.receive(renderRequest({ connectionId: 1 }))
    await until(() => stage.publisher.replies.length >= 2)
    await turns(10)
    expect(stage.publisher.received(1)).toHaveLength(WINDOW)
    stage.epoch.lost()
    await stage.settled()
  })

  it('the balance is kept over keep-alive', async () => {
    const stage = setStage((request) => new Response('a'.repeat(request.url.endsWith('/1') ? 100_000 : 5000)))
    const state = follow(stage)
    stage.receive(renderRequest({ target: '/1', headers: FIRST }))
    await stage.settled()
    const first = state.outstanding
    stage.receive(renderRequest({ target: '/2' }))
    await until(() => state.messages.length === 2)
    await turns(10)
    expect(state.messages).toEqual([first, WINDOW - first])
    deliver(stage, state)
    await stage.settled()
    expect(state.most).toBe(WINDOW)
    expect(stage.publisher.received(1)).toMatch(/\r\n\r\na{5000}$/)
  })

  it('the credits of the first request are not counted twice where they are repeated', async () => {
    const stage = setStage(() => new Response('a'.repeat(60_000)))
    const state = follow(stage)
    stage.receive(renderRequest({ headers: FIRST }), renderRequest({ headers: FIRST }))
    await until(() => state.messages.length > 0)
    await turns(20)
    expect(state.outstanding).toBe(WINDOW)
    stage.epoch.lost()
    await stage.settled()
  })

  it('the close waits until the last byte has gone out', async () => {
    const stage = setStage(() => new Response('a'.repeat(150_000)))
    const state = follow(stage)
    stage.receive(renderRequest({ headers: { ...FIRST, connection: 'close' } }))
    await until(() => state.messages.length > 0)
    await turns(20)
    expect(stage.publisher.closed(1)).toBe(false)
    deliver(stage, state)
    await stage.settled()
    expect(stage.publisher.closed(1)).toBe(true)
    expect(parseResponse(stage.publisher.received(1)).rest).toHaveLength(150_000)
  })

  it('any number of small messages goes out, since only bytes count', async () => {
    const stage = setStage(() => new Response(steadyBody(60, 10)))
    const state = follow(stage)
    stage.receive(renderRequest({ headers: FIRST }))
    await until(() => stage.publisher.received(1).endsWith('\r\n0\r\n\r\n'))
    expect(state.messages.length).toBeGreaterThan(30)
    expect(unchunked(stage.publisher.received(1))).toBe(steadyText(60, 10))
  })

  it.each(['-5', 'abc', '', '1e9', '99999999999'])('a notice of %j credits changes nothing', async (credits) => {
    const stage = setStage(() => new Response('a'.repeat(150_000)))
    const state = follow(stage)
    stage.receive(renderRequest({ headers: FIRST }))
    await until(() => state.messages.length > 0)
    stage.receive(renderCredits(1, credits))
    await turns(20)
    expect(stage.application.counters.malformed).toBe(0)
    expect(state.outstanding).toBe(WINDOW)
    stage.epoch.lost()
    await stage.settled()
  })

  it('never has more than 102,400 bytes outstanding, whatever the answers and however they are written', async () => {
    const answer = fc.record({ bytes: fc.integer({ min: 0, max: 150_000 }), streamed: fc.boolean() })
    await fc.assert(
      fc.asyncProperty(
        fc.array(answer, { minLength: 1, maxLength: 6 }),
        fc.infiniteStream(fc.nat(2)),
        async (answers, waits) => {
          const stage = setStage((request) => {
            const { bytes, streamed } = answers[Number(new URL(request.url).pathname.slice(1))] ?? {
              bytes: 0,
              streamed: false,
            }
            return new Response(streamed ? steadyBody(5, Math.ceil(bytes / 5) + 1) : 'a'.repeat(bytes))
          })
          const state = follow(stage)
          stage.receive(
            ...answers.map((_, number) => renderRequest({ target: `/${number}`, headers: number === 0 ? FIRST : {} })),
          )
          let done = false
          const settled = stage.settled().then(() => {
            done = true
          })
          while (!done) {
            await turns(waits.next().value)
            await turns()
            if (state.messages.length > 0) deliver(stage, state)
          }
          await settled
          expect(state.most).toBeLessThanOrEqual(WINDOW)
          expect(stage.publisher.received(1).match(/HTTP\/1\.1 200 OK/g)).toHaveLength(answers.length)
        },
      ),
      { numRuns: 40 },
    )
  })
})
