import { getEventListeners } from 'node:events'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  type FetchHandler,
  type Mongrel2Env,
  type ServerWebSocket,
  Topic,
  type TopicOptions,
  upgradeWebSocket,
} from '../../../src/index.ts'
import { replaceGlobals, restoreGlobals } from '../../../src/platform/globals.ts'
import { otherLifetimes } from '../../../src/platform/request.ts'
import { memoryInUse } from '../../support/memory-in-use.ts'
import {
  renderCredits,
  renderDisconnect,
  renderFrameMessage,
  renderHandshake,
  renderMessage,
  renderRequest,
} from '../support/message.ts'
import { framesOf } from '../support/sockets.ts'
import { type Stage, type StageOptions, setStage, turns, until } from '../support/stage.ts'

afterEach(() => {
  vi.useRealTimers()
})

const FLOW_CONTROL = { DOWNLOAD_CREDITS: '102400' }

/** A stage with so many sockets open, on connections 1, 2 and so on, which are members of a topic. */
interface Members {
  readonly stage: Stage
  readonly topic: Topic
  readonly sockets: ServerWebSocket[]
  /** The targets of each reply since it was last asked. */
  targets(): string[]
}

async function openMembers(
  count: number,
  options: TopicOptions = {},
  { headers = {}, ...stageOptions }: StageOptions & { headers?: Record<string, string> } = {},
  perMessageDeflate = false,
): Promise<Members> {
  const topic = new Topic(options)
  const sockets: ServerWebSocket[] = []
  const stage = setStage((request) => {
    const { socket, response } = upgradeWebSocket(request, {
      perMessageDeflate: perMessageDeflate && { threshold: 1 },
    })
    sockets.push(socket)
    topic.add(socket)
    return response
  }, stageOptions)
  for (let id = 1; id <= count; id++) stage.receive(renderHandshake({ connectionId: id, headers }))
  await turns()
  let seen = stage.publisher.replies.length
  const targets = () => {
    const all = stage.publisher.replies.slice(seen).map((reply) => reply.targets)
    seen += all.length
    return all
  }
  return { stage, topic, sockets, targets }
}

/** Sends and lets it go out. */
async function send(topic: Topic, ...messages: string[]): Promise<void> {
  for (const message of messages) topic.send(message)
  await turns()
}

describe('Members whose queues are the same are named in one reply', () => {
  it('as many as handlerTargets says', async () => {
    const { stage, topic, targets } = await openMembers(5, {}, { handlerTargets: 2 })
    await send(topic, 'a', 'b')
    expect(targets()).toEqual(['1 2', '3 4', '5'])
    for (const id of [1, 2, 3, 4, 5]) expect(framesOf(stage.publisher, id)).toEqual(['text "a"', 'text "b"'])
  })

  it('long polls, too, however many there are', async () => {
    const topic = new Topic()
    const stage = setStage((request) => topic.next(request))
    for (let id = 1; id <= 150; id++) stage.receive(renderRequest({ connectionId: id }))
    await until(() => topic.size === 150)
    await send(topic, 'a')
    await stage.settled()
    expect(stage.publisher.replies.map(({ targets }) => targets.split(' ').length)).toEqual([128, 22])
  })

  it('and one that gets something else besides alone, in its order', async () => {
    const { stage, topic, sockets, targets } = await openMembers(4)
    topic.send('a')
    sockets[1]?.send('only you')
    await send(topic, 'b')
    expect(targets().sort()).toEqual(['1 3 4', '2'])
    expect(framesOf(stage.publisher, 2)).toEqual(['text "a"', 'text "only you"', 'text "b"'])
    await send(topic, 'c')
    expect(targets()).toEqual(['1 2 3 4'])
  })

  it('and one that closes alone, with the close behind', async () => {
    const { stage, topic, sockets, targets } = await openMembers(3)
    // However long it takes, all of it is one turn.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now())
    topic.send('a')
    sockets[2]?.close(1000)
    stage.receive(renderFrameMessage(2, '0x88'))
    await turns()
    clock.mockRestore()
    expect(targets().sort()).toEqual(['1', '2', '2', '3'])
    expect(framesOf(stage.publisher, 2)).toEqual(['text "a"', 'close', 'end'])
    expect(framesOf(stage.publisher, 3)).toEqual(['text "a"', 'close 1000 ""'])
    expect(topic.size).toBe(2) // the third has not answered
  })

  it('and one whose credits do not suffice alone', async () => {
    const { stage, topic, sockets, targets } = await openMembers(3, {}, { headers: FLOW_CONTROL })
    sockets[1]?.send('x'.repeat(102_000))
    await turns()
    targets()
    await send(topic, 'y'.repeat(1000))
    expect(targets().sort()).toEqual(['1 3', '2'])
    stage.receive(renderCredits(2, 102_000))
    await turns()
    expect(targets()).toEqual(['2'])
    expect(framesOf(stage.publisher, 2)).toEqual([
      expect.stringMatching(/^text 102000/),
      expect.stringMatching(/^text 1000 /),
    ])
    await send(topic, 'z')
    expect(targets()).toEqual(['1 2 3'])
  })

  it('and pings do not take them apart: they come late, not to all at once, and the same for all', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] })
    const { stage, topic, targets } = await openMembers(50)
    await vi.advanceTimersByTimeAsync(1000)
    const replies: string[][] = []
    for (let n = 0; n < 13; n++) {
      await send(topic, `${n}`)
      replies.push(targets())
    }
    const everybody = Array.from({ length: 50 }, (_, n) => n + 1).join(' ')
    expect(replies.slice(0, 8)).toEqual(Array(8).fill([everybody]))
    expect(replies.slice(8, 12).map(({ length }) => length)).toEqual([2, 2, 2, 2])
    for (const id of [1, 2, 3, 4, 5]) {
      expect(framesOf(stage.publisher, id).filter((frame) => frame.startsWith('ping'))).toHaveLength(1)
    }
    // Who has answered may get more than Mongrel2 takes at once.
    const frame = Buffer.concat(stage.publisher.payloadsFor(5))
    stage.receive(
      renderFrameMessage(5, '0x8A', frame.subarray(frame.indexOf(Buffer.from([0x89, 6])) + 2).subarray(0, 6)),
    )
    for (let n = 13; n < 20; n++) await send(topic, `${n}`)
    const texts = (id: number) => framesOf(stage.publisher, id).filter((text) => text.startsWith('text')).length
    expect([texts(5), texts(4)]).toEqual([20, 15])
  })
})

describe('A member', () => {
  it('gets nothing before it is open, nor when it closes, nor when it is gone', async () => {
    const topic = new Topic()
    let respond = () => {}
    const stage = setStage(async (request) => {
      const { socket, response } = upgradeWebSocket(request)
      topic.add(socket)
      await new Promise<void>((resolve) => {
        respond = resolve
      })
      return response
    })
    stage.receive(renderHandshake())
    await send(topic, 'early')
    respond()
    await turns()
    await send(topic, 'in time')
    expect(framesOf(stage.publisher, 1)).toEqual(['text "in time"'])
    stage.receive(renderDisconnect(1))
    expect(topic.size).toBe(0)
    await send(topic, 'late')
    expect(framesOf(stage.publisher, 1)).toEqual(['text "in time"'])
  })

  it('gets a message behind the Blob that it was sent before', async () => {
    const { stage, topic, sockets } = await openMembers(2)
    sockets[0]?.send(new Blob(['slow']))
    topic.send('quick')
    expect(sockets[0]?.bufferedAmount).toBe('slowquick'.length)
    await until(() => framesOf(stage.publisher, 1).length === 2)
    expect(framesOf(stage.publisher, 1)).toEqual(['binary "slow"', 'text "quick"'])
    expect(framesOf(stage.publisher, 2)).toEqual(['text "quick"'])
  })

  it('that compresses gets it as it is, behind what is being compressed', async () => {
    const headers = { 'sec-websocket-extensions': 'permessage-deflate' }
    const { stage, topic, sockets } = await openMembers(1, {}, { headers }, true)
    sockets[0]?.send('compressed')
    topic.send('as it is')
    await until(() => framesOf(stage.publisher, 1).length === 2)
    expect(framesOf(stage.publisher, 1)).toEqual([expect.stringMatching(/^rsv 40 text/), 'text "as it is"'])
  })

  it('gets the bytes as they were when they were sent', async () => {
    const { stage, topic } = await openMembers(1)
    const bytes = Buffer.from('abcd')
    topic.send(bytes.subarray(1, 3))
    topic.send(new Uint8Array(bytes).buffer)
    bytes.fill(0)
    await turns()
    expect(framesOf(stage.publisher, 1)).toEqual(['binary "bc"', 'binary "abcd"'])
  })

  it.each([
    ['drop', 1, []],
    ['close', 2, ['close 1013 "too slow"']],
  ] as const)('over its budget: %s', async (whenSlow, readyState, more) => {
    const options: TopicOptions = { whenSlow, maxBufferedBytes: 1000 }
    const { stage, topic, sockets } = await openMembers(2, options, { headers: FLOW_CONTROL })
    const heads = [1, 2].map((id) => stage.publisher.received(id).length)
    for (const id of [1, 2]) stage.receive(renderCredits(id, heads[id - 1] ?? 0))
    await send(topic, 'x'.repeat(5000)) // one may be longer by itself
    stage.receive(renderCredits(2, 5004))
    await send(topic, 'y')
    await turns()
    expect(sockets.map((socket) => socket.readyState)).toEqual([readyState, 1])
    expect(framesOf(stage.publisher, 1)).toEqual([expect.stringMatching(/^text 5000/), ...more])
    expect(framesOf(stage.publisher, 2)).toEqual([expect.stringMatching(/^text 5000/), 'text "y"'])
  })
})

describe('A message socket', () => {
  const message = (id: number) =>
    renderMessage({ connectionId: id, path: '@chat', headers: { METHOD: 'JSON', PATH: '@chat' }, body: '{}' })

  it('is a member as a WebSocket is, until it is gone', async () => {
    const topic = new Topic()
    const stage = setStage(() => new Response(), {
      messages: { json: () => {}, open: (connection) => void topic.add(connection) },
    })
    stage.receive(message(1), message(2), message(3))
    await send(topic, 'a', 'b')
    for (const id of [1, 2, 3]) expect(stage.publisher.payloadsFor(id).map(String)).toEqual(['a', 'b'])
    stage.receive(renderDisconnect(2))
    expect(topic.size).toBe(2)
    const { replies } = stage.application.counters
    await send(topic, '', 'c')
    expect(stage.publisher.replies.at(-1)).toMatchObject({ targets: '1 3', payload: Buffer.from('c') })
    expect(stage.application.counters.replies - replies).toBe(1)
  })
})

describe('A topic', () => {
  it('with a name gets what another of that name is sent', async () => {
    const { stage, topic } = await openMembers(1, { name: 'room' })
    const other = new Topic('room')
    expect([topic.name, other.name, other.size]).toEqual(['room', 'room', 0])
    await send(other, 'a')
    await send(new Topic('another room'), 'b')
    await send(new Topic(), 'c')
    expect(framesOf(stage.publisher, 1)).toEqual(['text "a"'])
  })

  it.each<[what: string, options: unknown, message: string]>([
    ['no name', '', 'name: expected a text, got ""'],
    ['a number', 5, 'options: expected a name, or an object, got 5'],
    [
      'a budget of nothing',
      { maxBufferedBytes: 0 },
      'maxBufferedBytes: expected an integer from 1 to 1073741824, got 0',
    ],
    ['another fate', { whenSlow: 'wait' }, `whenSlow: expected 'close' or 'drop', got "wait"`],
    ['a misspelled option', { whenslow: 'drop' }, 'there is no option of a topic whenslow'],
  ])('refuses %s', (_what, options, message) => {
    expect(() => new Topic(options as TopicOptions)).toThrow(message)
  })

  it('refuses what cannot be sent, or said of an event', () => {
    const topic = new Topic()
    expect(() => topic.send(5 as unknown as string)).toThrow('data: expected a text or bytes, got 5')
    expect(() => topic.send('x', { event: 'a\nb' })).toThrow('event: expected a text in one line, got "a\\nb"')
    expect(() => topic.send('x', { id: 'a\0' })).toThrow('id: expected a text in one line')
    expect(() => topic.send('x', { retry: 5 } as object)).toThrow('there is no field of an event retry')
    const request = new Request('http://localhost/')
    expect(() => topic.stream(request, { header: {} } as object)).toThrow('there is no option of stream header')
    expect(() => topic.next(request, { timeout: -1 })).toThrow('timeout: expected an integer from 0')
  })

  it('follows the signal of a request that it is not called with by us', async () => {
    const topic = new Topic()
    const controller = new AbortController()
    const request = new Request('http://localhost/', { signal: controller.signal })
    const response = topic.stream(request)
    const poll = topic.next(request)
    expect(topic.size).toBe(2)
    controller.abort()
    expect(topic.size).toBe(0)
    expect([await response.text(), (await poll).status]).toEqual(['', 204])
    expect((await topic.next(request)).status).toBe(204)
    expect(await topic.stream(request).text()).toBe('')
  })

  it('gives an event stream more header fields, but its type', () => {
    const headers = { 'x-room': '7', 'content-type': 'text/plain', 'cache-control': 'private' }
    const response = new Topic().stream(new Request('http://localhost/'), { headers })
    expect(Object.fromEntries(response.headers)).toEqual({
      'x-room': '7',
      'content-type': 'text/event-stream',
      'cache-control': 'private',
    })
  })

  it('leaves the type of a stream of bytes to the handler', async () => {
    const topic = new Topic()
    const request = new Request('http://localhost/')
    const response = topic.stream(request, { format: 'bytes', headers: { 'content-type': 'audio/mpeg' } })
    expect(response.headers.get('content-type')).toBe('audio/mpeg')
    expect(topic.stream(request, { format: 'bytes' }).headers.get('content-type')).toBe('application/octet-stream')
    expect(() => topic.stream(request, { format: 'lines' } as object)).toThrow(
      `format: expected 'events' or 'bytes', got "lines"`,
    )
    const reader = response.body?.getReader()
    for (const message of ['early', '', 'late']) topic.send(message)
    const chunks = [await reader?.read(), await reader?.read()].map((result) =>
      Buffer.from(result?.value ?? []).toString(),
    )
    expect(chunks).toEqual(['early', 'late'])
  })

  it('holds no more than its budget for a stream that nobody reads', async () => {
    const stream = (whenSlow: 'drop' | 'close') => {
      const topic = new Topic({ whenSlow, maxBufferedBytes: 30 })
      const response = topic.stream(new Request('http://localhost/'))
      for (const text of ['one', 'two', 'three', 'four']) topic.send(text)
      return { topic, response }
    }
    const closed = stream('close')
    expect([closed.topic.size, await closed.response.text()]).toEqual([0, 'data: one\n\ndata: two\n\n'])
    const dropped = stream('drop')
    const reader = dropped.response.body?.getReader()
    expect(String(Buffer.from((await reader?.read())?.value ?? []))).toBe('data: one\n\n')
    expect(String(Buffer.from((await reader?.read())?.value ?? []))).toBe('data: two\n\n')
    const next = reader?.read()
    dropped.topic.send('five')
    expect(String(Buffer.from((await next)?.value ?? []))).toBe('data: five\n\n')
    await reader?.cancel()
    expect(dropped.topic.size).toBe(0)
  })
})

describe('An event stream', () => {
  /** Opens so many, whose heads are taken from the stage. */
  const openStreams = async (stage: Stage, first: number, count: number) => {
    for (let id = first; id < first + count; id++) stage.receive(renderRequest({ connectionId: id }))
    await until(() => stage.publisher.replies.length === count)
    stage.publisher.batches.length = 0
  }

  it.each<[how: string, handler: (topic: Topic) => FetchHandler]>([
    ['as it is', (topic) => (request) => topic.stream(request)],
    ['after a while', (topic) => async (request) => topic.stream(request)],
    [
      'in another response',
      (topic) => (request) => {
        const response = topic.stream(request)
        return new Response(response.body, response)
      },
    ],
  ])('that a handler returns %s takes less than 3 KiB', async (_how, handler) => {
    const topic = new Topic()
    const stage = setStage(handler(topic))
    await openStreams(stage, 1, 500)
    const before = await memoryInUse()
    await openStreams(stage, 501, 2000)
    expect(((await memoryInUse()) - before) / 2000).toBeLessThan(3072)
    await send(topic, 'news')
    expect(topic.size).toBe(2500)
    expect(stage.publisher.received(2500)).toBe('c\r\ndata: news\n\n\r\n')
  })

  it('lets the handler have its body after it was sent: to cancel that ends it, and the next request is answered', async () => {
    const topic = new Topic()
    let response: Response | undefined
    const stage = setStage(
      ({ url }) => {
        if (url.endsWith('/next')) return new Response('next')
        // Nothing tells whose exchange this request belongs to.
        response = topic.stream(new Request(url))
        return response
      },
      { maxPipelined: 1 },
    )
    stage.receive(renderRequest(), renderRequest({ target: '/next' }))
    await send(topic, 'a')
    expect(stage.publisher.received(1)).toMatch(/data: a\n\n\r\n$/)
    await response?.body?.cancel()
    await stage.settled()
    expect(topic.size).toBe(0)
    const [events, next] = stage.publisher.received(1).split('\r\n0\r\n\r\n')
    expect([events, next]).toEqual([expect.stringMatching(/data: a\n\n$/), expect.stringMatching(/^HTTP.*next$/s)])
  })

  it('that ends since its client is slow ends the requests behind it after the topic has sent', async () => {
    const topic = new Topic({ maxBufferedBytes: 1000 })
    let sending = false
    const aborted: boolean[] = []
    const stage = setStage((request) => {
      if (!request.url.endsWith('/next')) return topic.stream(request)
      request.signal.addEventListener('abort', () => aborted.push(sending))
      return new Promise<Response>(() => {})
    })
    stage.receive(renderRequest({ headers: FLOW_CONTROL }), renderRequest({ target: '/next' }))
    await turns()
    sending = true
    for (let n = 0; n < 3; n++) topic.send('x'.repeat(900))
    sending = false
    expect([topic.size, aborted]).toEqual([0, []])
    await until(() => aborted.length > 0)
    expect(aborted).toEqual([false])
  })

  it('is a member no more when its response is not sent, since the client has left or another was sent', async () => {
    const topic = new Topic()
    let respond = () => {}
    const late = new Promise<void>((resolve) => {
      respond = resolve
    })
    const handler = async ({ url }: Request) => {
      const response = topic.stream(new Request(url))
      await late
      return response
    }
    const stage = setStage(handler, { requestTimeout: 1 })
    stage.receive(renderRequest(), renderRequest({ connectionId: 2 }))
    stage.receive(renderDisconnect(1))
    await until(() => stage.publisher.received(2).includes('504'))
    expect(topic.size).toBe(2)
    respond()
    await until(() => topic.size === 0)
  })

  it('ends with the server that sends it, though its request is not known to be of that', async () => {
    const topic = new Topic()
    const stage = setStage(({ url }) => topic.stream(new Request(url)))
    stage.receive(renderRequest())
    await turns()
    void stage.epoch.closing.goAway()
    expect(topic.size).toBe(0)
    await stage.settled()
    expect(stage.publisher.received(1)).toMatch(/\r\n0\r\n\r\n$/)
  })
})

describe('The member that an event stream or a long poll is', () => {
  const kinds = ['stream', 'next'] as const
  /** Makes a member, and a response of it that nobody needs to send. */
  const join = (
    topic: Topic,
    kind: (typeof kinds)[number],
    ...parameters: [Request, object?, Partial<Mongrel2Env>?]
  ) => (kind === 'stream' ? topic.stream(...parameters) : void topic.next(...parameters))

  const failing = () => new ReadableStream({ pull: () => Promise.reject(new Error('no')) })
  const WAYS: [how: string, handler: () => Response | Promise<Response>, StageOptions?][] = [
    ['answers otherwise', () => new Response('other')],
    ['answers with a stream', () => new Response(new Blob(['other']).stream())],
    ['answers otherwise after a while', () => turns(2).then(() => new Response('other'))],
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
    ['rejects after a while', () => turns(2).then(() => Promise.reject(new Error('no')))],
    ['returns no response', () => 'none' as unknown as Response],
    ['returns a response whose body fails', () => new Response(failing())],
    [
      'returns a response whose body fails too late',
      () => new Response(failing(), { headers: { 'content-length': '5' } }),
    ],
    ['takes too long', () => new Promise<Response>(() => {}), { requestTimeout: 5 }],
  ]
  describe.each(kinds)('by topic.%s', (kind) => {
    it.each(WAYS)('is none any more when the handler %s', async (_how, handler, options = {}) => {
      const topic = new Topic('of a name')
      const sizes: number[] = []
      const stage = setStage((request) => {
        join(topic, kind, request)
        join(topic, kind, request) // a second one for the same request
        sizes.push(topic.size)
        return handler()
      }, options)
      stage.receive(renderRequest())
      await stage.settled()
      expect([sizes, topic.size]).toEqual([[2], 0])
    })

    it('is none any more when its client leaves while the handler waits', async () => {
      const topic = new Topic()
      const stage = setStage((request) => {
        join(topic, kind, request)
        return new Promise<Response>(() => {})
      })
      stage.receive(renderRequest())
      expect(topic.size).toBe(1)
      stage.receive(renderDisconnect(1))
      expect(topic.size).toBe(0)
    })

    it('is none any more when its request waits behind another, and their client leaves', async () => {
      const topic = new Topic()
      const stage = setStage((request) => {
        if (request.url.endsWith('/slow')) return new Promise<Response>(() => {})
        join(topic, kind, request)
        return new Response('other')
      })
      stage.receive(renderRequest({ target: '/slow' }), renderRequest({ target: '/joins' }))
      await turns()
      expect(topic.size).toBe(1)
      stage.receive(renderDisconnect(1))
      expect(topic.size).toBe(0)
    })

    it('is not added when its exchange has ended', async () => {
      const topic = new Topic()
      const requests: Request[] = []
      const stage = setStage((request) => {
        requests.push(request)
        return new Response('answered')
      })
      stage.receive(renderRequest())
      await stage.settled()
      join(topic, kind, requests[0] as Request)
      expect(topic.size).toBe(0)
    })

    it('is not added when its client has left or its time is over', async () => {
      const topic = new Topic()
      const requests: Request[] = []
      const stage = setStage(
        (request) => {
          requests.push(request)
          return new Promise<Response>(() => {})
        },
        { requestTimeout: 5 },
      )
      stage.receive(renderRequest(), renderRequest({ connectionId: 2 }))
      stage.receive(renderDisconnect(1))
      await stage.settled()
      for (const request of requests) join(topic, kind, request)
      expect([requests.length, topic.size]).toEqual([2, 0])
    })

    it('is none any more when its request was a handshake that opens', async () => {
      const topic = new Topic()
      const stage = setStage((request) => {
        join(topic, kind, request)
        return upgradeWebSocket(request).response
      })
      stage.receive(renderHandshake())
      await turns()
      expect(stage.publisher.response(1).statusLine).toContain('101')
      expect(topic.size).toBe(0)
    })

    it('stays as long as its answer is left to others', async () => {
      const topic = new Topic()
      const stage = setStage(async (request, { mongrel2 }) => {
        const { response } = await mongrel2.defer()
        join(topic, kind, request)
        return response
      })
      stage.receive(renderRequest())
      await stage.settled()
      expect(topic.size).toBe(1)
      stage.receive(renderDisconnect(1))
      expect(topic.size).toBe(0)
    })

    it('is none any more when nobody has answered a deferred request in time', async () => {
      const topic = new Topic()
      const stage = setStage(async (request, { mongrel2 }) => {
        const { response } = await mongrel2.defer({ timeout: 5 })
        join(topic, kind, request)
        return response
      })
      stage.receive(renderRequest())
      await until(() => stage.publisher.received(1) !== '')
      expect(stage.publisher.response(1).statusLine).toContain('504')
      expect(topic.size).toBe(0)
    })

    const COPIES: [how: string, copy: (request: Request) => Request, env: boolean, override: boolean][] = [
      ['cloned', (request) => request.clone(), false, false],
      ['made anew, with env', (request) => new Request(request), true, false],
      ['made of nothing but its URL, with env', ({ url }) => new Request(url), true, false],
      ['cloned, of our globals', (request) => request.clone(), false, true],
      ['made anew, of our globals', (request) => new Request(request, { headers: { 'x-a': 'b' } }), false, true],
      ['made for another URL, of our globals', (request) => new Request('http://other/', request), false, true],
      ['made of a copy, of our globals', (request) => new Request(new Request(request.clone())), false, true],
    ]
    it.each(COPIES)('is none any more where its request was %s', async (_how, copy, withEnv, overrideGlobalObjects) => {
      if (overrideGlobalObjects) replaceGlobals()
      try {
        const topic = new Topic()
        const sizes: number[] = []
        const stage = setStage(
          (request, env) => {
            join(topic, kind, copy(request), {}, ...(withEnv ? [env] : []))
            sizes.push(topic.size)
            return new Response('other')
          },
          { overrideGlobalObjects },
        )
        stage.receive(renderRequest())
        await stage.settled()
        expect([sizes, topic.size]).toEqual([[1], 0])
      } finally {
        if (overrideGlobalObjects) restoreGlobals()
      }
    })

    it('of a request that was made anew with a signal of its own ends with that, too', async () => {
      const topic = new Topic()
      const controller = new AbortController()
      const stage = setStage((request, env) => {
        join(topic, kind, new Request(request, { signal: controller.signal }), {}, env)
        return new Promise<Response>(() => {})
      })
      stage.receive(renderRequest())
      expect(topic.size).toBe(1)
      controller.abort()
      expect(topic.size).toBe(0)
    })
  })

  it('by topic.stream is none for HEAD, whoever has made the request', async () => {
    const topic = new Topic()
    const sizes: number[] = []
    const stage = setStage((request) => {
      const response = topic.stream(request, { headers: { 'x-a': 'b' } })
      sizes.push(topic.size)
      return response
    })
    stage.receive(renderRequest({ method: 'HEAD' }))
    await stage.settled()
    const { statusLine, fields, rest } = stage.publisher.response(1)
    expect([sizes, statusLine, rest]).toEqual([[0], 'HTTP/1.1 200 OK', ''])
    expect(fields.map(([name]) => name).sort()).toEqual(['cache-control', 'content-type', 'date', 'x-a'])
    expect(topic.stream(new Request('http://localhost/', { method: 'HEAD' })).body).toBe(null)
    expect(topic.size).toBe(0)
  })

  it('by topic.stream ends with the exchange that sends it, though its request is not known to be of that', async () => {
    const topic = new Topic()
    const stage = setStage(({ url }) => topic.stream(new Request(url)))
    stage.receive(renderRequest())
    await turns()
    await send(topic, 'a')
    expect(topic.size).toBe(1)
    stage.receive(renderDisconnect(1))
    await until(() => topic.size === 0)
  })

  it('by topic.stream ends with the client of a cloned response', async () => {
    const topic = new Topic()
    const stage = setStage((request) => topic.stream(request).clone())
    stage.receive(renderRequest())
    await turns()
    await send(topic, 'a')
    await until(() => stage.publisher.received(1).includes('data: a'))
    expect(topic.size).toBe(1)
    stage.receive(renderDisconnect(1))
    expect(topic.size).toBe(0)
  })

  it('ends with the server, each of several for one request', async () => {
    const topic = new Topic()
    const ended: string[] = []
    const stage = setStage(async (request) => {
      void topic.next(request).then(({ status }) => ended.push(`next ${status}`))
      void topic
        .stream(request)
        .text()
        .then((text) => ended.push(`stream ${text}`))
      return topic.stream(request)
    })
    stage.receive(renderRequest())
    await turns()
    expect(topic.size).toBe(3)
    void stage.epoch.closing.goAway()
    expect(topic.size).toBe(0)
    await stage.settled()
    expect(ended).toEqual(['next 204', 'stream '])
    expect(stage.publisher.received(1)).toMatch(/\r\n0\r\n\r\n$/)
  })

  it.each([
    ['signal', (request: Request) => () => getEventListeners(request.signal, 'abort').length],
    [
      'exchange',
      (request: Request) => {
        const actions = new Set<() => void>()
        const whenEnding = (action: () => void) => {
          actions.add(action)
          return () => actions.delete(action)
        }
        otherLifetimes.set(request, { whenEnding })
        return () => actions.size
      },
    ],
  ])('leaves nothing behind at its %s when it ends by itself', async (_what, watch) => {
    const topic = new Topic()
    const request = new Request('http://localhost/', { signal: new AbortController().signal })
    const left = watch(request)
    for (let n = 0; n < 3; n++) {
      const poll = topic.next(request)
      const stream = topic.stream(request)
      expect(left()).toBe(2)
      topic.send('news')
      expect(await (await poll).text()).toBe('news')
      await stream.body?.cancel()
      expect([topic.size, left()]).toEqual([0, 0])
    }
  })
})
