import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { FetchHandler } from '../../../src/platform/handler.ts'
import { parseMessage } from '../../../src/wire/message.ts'
import { Gate } from '../../support/gate.ts'
import {
  PROTOCOLS,
  type RequestParts,
  renderCredits,
  renderDisconnect,
  renderMessage,
  renderRequest,
  SENDER,
} from '../support/message.ts'
import { mutate, mutations } from '../support/mutation.ts'
import { parseResponse, valuesOf } from '../support/reply.ts'
import { setStage, turns, until } from '../support/stage.ts'

const pathOf = (request: Request) => new URL(request.url).pathname

/** Answers with the path. */
const echo: FetchHandler = (request) => new Response(pathOf(request))

/** Answers when the test opens the gate for the path. */
const gated =
  (gate: Gate): FetchHandler =>
  async (request) => {
    await gate.pass(pathOf(request))
    return new Response(pathOf(request))
  }

/** Whether the parser refuses bytes. */
function isMalformed(bytes: Buffer): boolean {
  try {
    parseMessage(bytes)
    return false
  } catch {
    return true
  }
}

/** The bodies of responses that all have a Content-Length, in the order they were received. */
function bodies(received: string): string[] {
  const found: string[] = []
  for (let rest = received; rest !== ''; ) {
    const response = parseResponse(rest)
    const length = Number(valuesOf(response, 'content-length')[0])
    found.push(response.rest.slice(0, length))
    rest = response.rest.slice(length)
  }
  return found
}

describe('an answer', () => {
  it.each(PROTOCOLS)('goes to the sender and the connection that asked with headers in %s', async (protocol) => {
    const stage = setStage(echo)
    stage.receive(renderRequest({ connectionId: 4711, target: '/a', protocol }))
    await stage.settled()
    expect(stage.publisher.replies.map(({ sender, targets }) => ({ sender, targets }))).toEqual([
      { sender: SENDER, targets: '4711' },
    ])
    expect(bodies(stage.publisher.received(4711))).toEqual(['/a'])
  })

  it('waits for the answers to the requests before it on its connection', async () => {
    const gate = new Gate()
    const stage = setStage(gated(gate))
    stage.receive(...['/1', '/2', '/3'].map((target) => renderRequest({ target })))
    await turns()
    gate.open('/2')
    gate.open('/3')
    await turns(5)
    expect(stage.publisher.replies).toEqual([])
    gate.open('/1')
    await stage.settled()
    expect(bodies(stage.publisher.received(1))).toEqual(['/1', '/2', '/3'])
  })

  it('waits until a stream before it has ended', async () => {
    const streams: ReadableStreamDefaultController[] = []
    const stage = setStage((request) =>
      pathOf(request) === '/stream'
        ? new Response(new ReadableStream({ start: (controller) => void streams.push(controller) }))
        : new Response('second'),
    )
    stage.receive(renderRequest({ target: '/stream' }), renderRequest({ target: '/2' }))
    await until(() => streams.length > 0)
    streams[0]?.enqueue(Buffer.from('first'))
    await turns(5)
    expect(stage.publisher.received(1)).toMatch(/\r\n\r\n5\r\nfirst\r\n$/)
    streams[0]?.close()
    await stage.settled()
    expect(stage.publisher.received(1)).toMatch(/5\r\nfirst\r\n0\r\n\r\nHTTP\/1\.1 200 OK\r\n.*\r\n\r\nsecond$/s)
  })

  it('does not wait for those of other connections', async () => {
    const gate = new Gate()
    const stage = setStage(gated(gate))
    stage.receive(renderRequest({ connectionId: 1, target: '/1' }), renderRequest({ connectionId: 2, target: '/2' }))
    await turns()
    gate.open('/2')
    await until(() => stage.publisher.received(2) !== '')
    expect(stage.publisher.received(1)).toBe('')
    gate.open('/1')
    await stage.settled()
  })

  it('is published together with all others of its turn, and in one message for each connection', async () => {
    // However long it takes.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now())
    const stage = setStage(echo)
    for (let number = 0; number < 40; number++) {
      stage.receive(...[1, 2, 3].map((connectionId) => renderRequest({ connectionId, target: `/${number}` })))
    }
    await stage.settled()
    clock.mockRestore()
    expect(stage.publisher.batches).toHaveLength(1)
    expect(stage.publisher.replies.map(({ targets }) => targets)).toEqual(['1', '2', '3'])
    for (const id of [1, 2, 3]) {
      expect(bodies(stage.publisher.received(id))).toEqual(Array.from({ length: 40 }, (_, number) => `/${number}`))
    }
    expect(stage.application.counters).toMatchObject({ messages: 120, requests: 120, replies: 3 })
  })

  it('counts its bytes, without what is for Mongrel2', async () => {
    const stage = setStage(echo)
    stage.receive(renderRequest({ version: 'HTTP/1.0' }))
    await stage.settled()
    expect(stage.application.counters).toMatchObject({ replies: 2, bytesOut: stage.publisher.received(1).length })
  })

  it('is followed by the close in the same turn where the connection is not kept', async () => {
    const stage = setStage(echo)
    stage.receive(renderRequest({ headers: { connection: 'close' } }))
    await stage.settled()
    expect(stage.publisher.batches).toHaveLength(1)
    expect(stage.publisher.payloadsFor(1).map((payload) => payload.length > 0)).toEqual([true, false])
    expect(stage.epoch.connections.size).toBe(0)
  })

  it('warns where Mongrel2 would not take it, because it subscribed to something else', async () => {
    const stage = setStage(echo, { prefix: 'another' })
    stage.receive(renderRequest())
    await stage.settled()
    expect(stage.log.warnings).toEqual([expect.stringMatching(/recv_ident, "another", but the send_ident is "34f9/)])
    const fitting = setStage(echo, { prefix: SENDER.slice(0, 5) })
    fitting.receive(renderRequest())
    await fitting.settled()
    expect(fitting.log.warnings).toEqual([])
  })
})

describe('a connection that is being closed', () => {
  const REFUSED: [what: string, parts: RequestParts][] = [
    ['said close', { headers: { connection: 'close' } }],
    ['spoke HTTP/1.0', { version: 'HTTP/1.0' }],
    ['was refused', { headers: { host: undefined } }],
  ]

  it.each(REFUSED)(
    'after it %s, answers nothing more that comes in the same turn, and counts it',
    async (_what, parts) => {
      const stage = setStage(echo)
      stage.receive(renderRequest(parts))
      const { rejected } = stage.application.counters
      stage.receive(renderRequest({ target: '/smuggled' }), renderRequest({ target: '/smuggled' }))
      await stage.settled()
      expect(stage.publisher.received(1)).not.toMatch('smuggled')
      expect(stage.publisher.received(1).match(/HTTP\/1\.1 \d/g)).toHaveLength(1)
      expect(stage.publisher.closed(1)).toBe(true)
      expect(stage.application.counters.rejected).toBe(rejected + 2)
      expect(stage.application.counters.requests).toBeLessThanOrEqual(1)
    },
  )

  it.each(REFUSED)('after it %s, answers nothing that comes when it is closed, and counts it', async (_what, parts) => {
    const stage = setStage(echo)
    stage.receive(renderRequest(parts))
    await stage.settled()
    const { replies, rejected } = stage.application.counters
    stage.receive(
      renderRequest({ target: '/smuggled' }),
      renderRequest({ headers: { METHOD: 'WEBSOCKET', FLAGS: '0x81' } }),
    )
    await stage.settled()
    expect(stage.application.counters).toMatchObject({ replies, rejected: rejected + 2 })
  })

  it('answers the requests before the last one first', async () => {
    const gate = new Gate()
    const stage = setStage(gated(gate))
    stage.receive(renderRequest({ target: '/1' }), renderRequest({ target: '/2', headers: { connection: 'close' } }))
    await turns()
    gate.open('/2')
    await turns(3)
    expect(stage.publisher.replies).toEqual([])
    gate.open('/1')
    await stage.settled()
    expect(bodies(stage.publisher.received(1))).toEqual(['/1', '/2'])
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('aborts the requests behind a response that says close, and does not answer them', async () => {
    const gate = new Gate()
    let signal: AbortSignal | undefined
    const stage = setStage(async (request) => {
      if (pathOf(request) === '/2') signal = request.signal
      await gate.pass(pathOf(request))
      if (pathOf(request) === '/1') return new Response('last', { headers: { connection: 'close' } })
      return new Response('too late')
    })
    stage.receive(renderRequest({ target: '/1' }), renderRequest({ target: '/2' }))
    await gate.arrival('/2')
    gate.open('/1')
    await until(() => stage.publisher.replies.length > 0)
    expect(signal?.aborted).toBe(true)
    gate.open('/2')
    await stage.settled()
    expect(bodies(stage.publisher.received(1))).toEqual(['last'])
    expect(stage.publisher.closed(1)).toBe(true)
  })
})

describe('a message that is no HTTP request', () => {
  it.each([
    ['a frame without a handshake', renderRequest({ method: 'WEBSOCKET', headers: { FLAGS: '0x81' } })],
    [
      'a JSON socket',
      renderMessage({ path: '@chat', headers: { METHOD: 'JSON', REMOTE_ADDR: '192.0.2.7' }, body: '{}' }),
    ],
    [
      'a forged notice',
      renderMessage({ path: '@*', headers: { METHOD: 'JSON', REMOTE_ADDR: '::1' }, body: '{"type":"disconnect"}' }),
    ],
  ])('closes %s without a word', async (_what, message) => {
    const stage = setStage(echo)
    stage.receive(message)
    await stage.settled()
    expect(stage.publisher.payloadsFor(1).map((payload) => payload.length)).toEqual([0])
    expect(stage.application.counters).toMatchObject({ requests: 0, rejected: 1 })
  })

  it.each(['JSON', 'XML', 'WEBSOCKET'])('takes a request of the method %s for a request', async (method) => {
    const stage = setStage((request) => new Response(request.method))
    stage.receive(renderRequest({ method, target: '/x' }))
    await stage.settled()
    expect(bodies(stage.publisher.received(1))).toEqual([method])
  })
})

describe('a disconnect notice', () => {
  it.each(PROTOCOLS)('aborts the signal of each open request with headers in %s', async (protocol) => {
    const gate = new Gate()
    const signals: AbortSignal[] = []
    const stage = setStage(async (request) => {
      signals.push(request.signal)
      await gate.pass(pathOf(request))
      return new Response('too late')
    })
    stage.receive(renderRequest({ target: '/1' }), renderRequest({ target: '/2' }))
    await turns()
    stage.receive(renderDisconnect(1, protocol))
    expect(signals.map((signal) => signal.aborted)).toEqual([true, true])
    expect(signals[0]?.reason).toMatchObject({ name: 'AbortError', message: expect.stringMatching(/client left/) })
    gate.open('/1')
    gate.open('/2')
    await stage.settled()
    expect(stage.publisher.replies).toEqual([])
    expect(stage.epoch.connections.size).toBe(0)
  })

  it('shows in a signal that is looked at only later', async () => {
    const gate = new Gate()
    let aborted: boolean | undefined
    const stage = setStage(async (request) => {
      await gate.pass('/')
      aborted = request.signal.aborted
      return new Response()
    })
    stage.receive(renderRequest(), renderDisconnect(1))
    gate.open('/')
    await stage.settled()
    expect(aborted).toBe(true)
  })

  it('aborts no signal of a request that was answered', async () => {
    const signals: AbortSignal[] = []
    const stage = setStage((request) => {
      signals.push(request.signal)
      return new Response('done')
    })
    stage.receive(renderRequest())
    await stage.settled()
    stage.receive(renderDisconnect(1))
    stage.epoch.lost()
    await turns(3)
    expect(signals.map((signal) => signal.aborted)).toEqual([false])
  })

  it('cancels the body that is being sent', async () => {
    const cancel = vi.fn()
    const stage = setStage(
      () => new Response(new ReadableStream({ start: (controller) => controller.enqueue(Buffer.from('a')), cancel })),
    )
    stage.receive(renderRequest())
    await until(() => stage.publisher.replies.length > 0)
    stage.receive(renderDisconnect(1))
    await stage.settled()
    expect(cancel).toHaveBeenCalledTimes(1)
    expect(cancel.mock.calls[0]?.[0]).toMatchObject({ name: 'AbortError' })
    expect(stage.publisher.received(1)).not.toMatch(/0\r\n\r\n$/)
    expect(stage.log.errors).toEqual([])
  })

  it('cancels the body of a response that waits for its turn', async () => {
    const cancel = vi.fn()
    const gate = new Gate()
    const stage = setStage(async (request) => {
      if (pathOf(request) === '/1') await gate.pass('/1')
      return new Response(new ReadableStream({ cancel }))
    })
    stage.receive(renderRequest({ target: '/1' }), renderRequest({ target: '/2' }))
    await turns(3)
    stage.receive(renderDisconnect(1))
    await turns(3)
    expect(cancel).toHaveBeenCalledTimes(1)
    gate.open('/1')
    await stage.settled()
    expect(cancel).toHaveBeenCalledTimes(2)
  })

  it('is never answered, whoever it is about', async () => {
    const stage = setStage(echo)
    stage.receive(renderDisconnect(99), renderRequest(), renderCredits(98, 10))
    await stage.settled()
    stage.receive(renderDisconnect(1), renderDisconnect(1), renderCredits(1, 10))
    await stage.settled()
    await turns(3)
    expect(stage.publisher.replies.map(({ targets }) => targets)).toEqual(['1'])
    expect(stage.application.counters).toMatchObject({ messages: 6, malformed: 0, rejected: 0 })
  })

  it('ends what its connection had, so that the number can be used again', async () => {
    const gate = new Gate()
    const stage = setStage(gated(gate))
    stage.receive(renderRequest({ target: '/old' }), renderDisconnect(1), renderRequest({ target: '/new' }))
    await turns()
    gate.open('/old')
    gate.open('/new')
    await stage.settled()
    expect(bodies(stage.publisher.received(1))).toEqual(['/new'])
  })
})

describe('the end of an epoch', () => {
  it('aborts everything that is open and publishes nothing more', async () => {
    const gate = new Gate()
    const signals: AbortSignal[] = []
    const cancel = vi.fn()
    const stage = setStage(async (request) => {
      signals.push(request.signal)
      if (pathOf(request) === '/stream') {
        return new Response(new ReadableStream({ start: (controller) => controller.enqueue(Buffer.from('a')), cancel }))
      }
      await gate.pass(pathOf(request))
      return new Response('too late')
    })
    stage.receive(renderRequest({ connectionId: 1, target: '/slow' }))
    stage.receive(renderRequest({ connectionId: 2, target: '/stream' }))
    await until(() => stage.publisher.replies.length > 0)
    const published = stage.publisher.replies.length
    stage.epoch.lost()
    stage.epoch.lost()
    expect(signals.map((signal) => signal.reason?.message)).toEqual(
      Array(2).fill('Mongrel2 went away before the response was complete'),
    )
    gate.open('/slow')
    await stage.settled()
    expect(cancel).toHaveBeenCalledTimes(1)
    expect(stage.publisher.replies).toHaveLength(published)
    expect(stage.epoch.connections.size).toBe(0)
  })

  it('drops what was answered in its last turn', async () => {
    const stage = setStage(echo)
    stage.receive(renderRequest())
    await Promise.resolve()
    stage.epoch.lost()
    await stage.settled()
    await turns(3)
    expect(stage.publisher.replies).toEqual([])
  })
})

describe('what is kept of connections', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('is forgotten once all was answered and delivered, though Mongrel2 did not say goodbye', async () => {
    const gate = new Gate()
    const stage = setStage(gated(gate))
    for (let id = 1; id <= 100; id++) stage.receive(renderRequest({ connectionId: id, target: `/${id}` }))
    expect(stage.epoch.connections.size).toBe(100)
    await turns()
    for (let id = 2; id <= 100; id++) gate.open(`/${id}`)
    await turns(5)
    await vi.advanceTimersByTimeAsync(3000)
    expect(stage.epoch.connections.size).toBe(1)
    gate.open('/1')
    await stage.settled()
    await vi.advanceTimersByTimeAsync(3000)
    expect(stage.epoch.connections.size).toBe(0)
    stage.epoch.lost()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('serves a connection that was forgotten as before', async () => {
    const stage = setStage(echo)
    stage.receive(renderRequest({ target: '/1' }))
    await stage.settled()
    await vi.advanceTimersByTimeAsync(3000)
    stage.receive(renderRequest({ target: '/2' }))
    await stage.settled()
    expect(bodies(stage.publisher.received(1))).toEqual(['/1', '/2'])
  })
})

describe('bytes that are no message', () => {
  it('are counted and dropped, with one warning a second that shows them', async () => {
    const stage = setStage(echo)
    stage.receive(Buffer.from('\x1b[31m nonsense'), Buffer.from('more'), Buffer.alloc(0))
    expect(stage.application.counters).toMatchObject({ messages: 3, malformed: 3 })
    expect(stage.log.warnings).toEqual([expect.stringMatching(/dropped a malformed message, .*: \\x1b\[31m nonsense$/)])
  })

  it('never throw out of receive, and the next message is answered', async () => {
    const valid = PROTOCOLS.map((protocol) =>
      renderRequest({ method: 'POST', body: '{"a":"body"}', headers: { 'x-two': ['1', '2'] }, protocol }),
    )
    const garbled = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)),
      fc.tuple(fc.constantFrom(...valid), mutations).map(([bytes, changes]) => mutate(bytes, changes)),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(garbled, { maxLength: 20 }), async (messages) => {
        const stage = setStage(echo)
        stage.receive(...messages)
        stage.receive(renderRequest({ connectionId: 1_000_000_007, target: '/next' }))
        await stage.settled()
        expect(bodies(stage.publisher.received(1_000_000_007))).toEqual(['/next'])
        expect(stage.log.errors).toEqual([])
        expect(stage.application.counters.malformed).toBe(messages.filter(isMalformed).length)
      }),
      { numRuns: 300 },
    )
  })

  it.each(PROTOCOLS)(
    'are all counted when they are a valid message cut short, with headers in %s',
    async (protocol) => {
      const valid = renderRequest({ protocol })
      const stage = setStage(echo)
      for (let length = 0; length < valid.length; length++) stage.receive(valid.subarray(0, length))
      stage.receive(valid)
      await stage.settled()
      expect(stage.application.counters).toMatchObject({ malformed: valid.length, requests: 1 })
      expect(bodies(stage.publisher.received(1))).toEqual(['/'])
    },
  )
})

describe('closing', () => {
  it('cuts what is still open when its time is over', async () => {
    const signals: AbortSignal[] = []
    const stage = setStage((request) => {
      signals.push(request.signal)
      return new Promise<Response>(() => {})
    })
    stage.receive(renderRequest({ connectionId: 1 }), renderRequest({ connectionId: 2 }))
    await turns()
    stage.epoch.closing.cutBusy()
    const cut = stage.publisher.replies.map(({ targets, payload }) => [targets, payload.length])
    expect(cut.sort()).toEqual([
      ['1', 0],
      ['2', 0],
    ])
    expect(signals.map((signal) => signal.aborted)).toEqual([true, true])
  })

  it('cuts at once what waits to be sent to a client before its connection is closed', async () => {
    const stage = setStage(() => new Response('a'.repeat(150_000)), { flowControl: true })
    stage.receive(renderRequest({ headers: { connection: 'close' } }))
    await stage.application.settled()
    await turns(2)
    expect(stage.publisher.closed(1)).toBe(false)
    stage.epoch.closing.cutBusy()
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('is drained when the last reply is published', async () => {
    const gate = new Gate()
    const stage = setStage(gated(gate))
    stage.receive(renderRequest())
    let drained = false
    const waiting = stage.epoch.closing.drained().then(() => {
      drained = true
    })
    await turns(3)
    expect(drained).toBe(false)
    gate.open('/')
    await waiting
    expect(bodies(stage.publisher.received(1))).toEqual(['/'])
  })
})

it('does not wait at its end for connections that Mongrel2 has ended without a notice: it asks for them at once', async () => {
  const large: FetchHandler = () => new Response(new Uint8Array(500_000))
  const stage = setStage(large, { flowControl: true })
  stage.receive(renderRequest({ connectionId: 7 }))
  await until(() => stage.publisher.replies.length > 0)
  stage.publisher.onPublish = (replies) => {
    // What Mongrel2 says when a reply names a connection that is gone.
    if (replies.some(({ targets }) => targets === 'X 7')) setImmediate(() => stage.receive(renderDisconnect(7)))
  }
  await stage.epoch.closing.inputDrained()
  expect(stage.epoch.connections.size).toBe(0)
})
