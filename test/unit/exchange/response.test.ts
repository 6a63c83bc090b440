import { STATUS_CODES } from 'node:http'
import { runInNewContext } from 'node:vm'
import { describe, expect, it, vi } from 'vitest'
import type { FetchHandler } from '../../../src/platform/handler.ts'
import { createResponse } from '../../../src/platform/light-response.ts'
import { type RequestParts, renderRequest } from '../support/message.ts'
import { valuesOf } from '../support/reply.ts'
import { type Stage, setStage, turns, until } from '../support/stage.ts'

/** Answers one request and returns the stage afterwards. */
async function answered(fetch: FetchHandler, parts: RequestParts = {}): Promise<Stage> {
  const stage = setStage(fetch)
  stage.receive(renderRequest(parts))
  await stage.settled()
  return stage
}

/** A stream of such chunks, each in a turn of its own. */
function streamOf(...chunks: (string | Uint8Array | Error)[]): ReadableStream<Uint8Array> {
  const left = [...chunks]
  return new ReadableStream({
    async pull(controller) {
      await turns(2)
      const next = left.shift()
      if (next === undefined) controller.close()
      else if (next instanceof Error) controller.error(next)
      else controller.enqueue(typeof next === 'string' ? Buffer.from(next) : next)
    },
  })
}

const CHUNKED = '5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n'

/** What stands in the head besides what a test gave. */
const framingOf = (stage: Stage) =>
  stage.publisher
    .response(1)
    .fields.filter(([name]) => ['content-length', 'transfer-encoding', 'connection'].includes(name))
    .map(([name, value]) => `${name}: ${value}`)

interface Case {
  what: string
  response: () => Response
  request?: RequestParts
  status?: string
  framing: string[]
  rest: string
  closed?: boolean
}

const HEAD: RequestParts = { method: 'HEAD' }
const HTTP10: RequestParts = { version: 'HTTP/1.0' }
const KEPT10: RequestParts = { version: 'HTTP/1.0', headers: { connection: 'keep-alive' } }
const CLOSE: RequestParts = { headers: { connection: 'close' } }

const CASES: Case[] = [
  { what: 'a text', response: () => new Response('text'), framing: ['content-length: 4'], rest: 'text' },
  { what: 'an empty text', response: () => new Response(''), framing: ['content-length: 0'], rest: '' },
  { what: 'no body', response: () => new Response(), framing: ['content-length: 0'], rest: '' },
  {
    what: 'no body with a status that has one',
    response: () => new Response(null, { status: 404 }),
    status: '404 Not Found',
    framing: ['content-length: 0'],
    rest: '',
  },
  {
    what: 'bytes',
    response: () => new Response(new Uint8Array([0, 255, 13, 10])),
    framing: ['content-length: 4'],
    rest: '\0\xff\r\n',
  },
  {
    what: 'a light one of a Blob',
    response: () => createResponse(new Blob(['blob']), {}),
    framing: ['content-length: 4'],
    rest: 'blob',
  },
  {
    what: 'a light one of a Blob to HEAD',
    response: () => createResponse(new Blob(['blob']), {}),
    request: HEAD,
    framing: ['content-length: 4'],
    rest: '',
  },
  {
    what: 'a light one of nothing to HEAD',
    response: () => createResponse(null, {}),
    request: HEAD,
    framing: [],
    rest: '',
  },
  {
    what: 'a light one with the length that it has',
    response: () => createResponse('text', { headers: { 'content-length': '4' } }),
    framing: ['content-length: 4'],
    rest: 'text',
  },
  {
    what: 'a light one with a status that has no body',
    response: () => createResponse(null, { status: 304, headers: { 'content-length': '4' } }),
    status: '304 Not Modified',
    framing: ['content-length: 4'],
    rest: '',
  },
  {
    what: 'a form',
    response: () => new Response(new URLSearchParams({ a: '1' })),
    framing: ['content-length: 3'],
    rest: 'a=1',
  },
  {
    what: 'a body of its known length',
    response: () => new Response(streamOf('first', 'second'), { headers: { 'content-length': '11' } }),
    framing: ['content-length: 11'],
    rest: 'firstsecond',
  },
  {
    what: 'a stream',
    response: () => new Response(streamOf('first', 'second')),
    framing: ['transfer-encoding: chunked'],
    rest: CHUNKED,
  },
  {
    what: 'a stream with empty chunks',
    response: () => new Response(streamOf('', 'first', '', 'second', '')),
    framing: ['transfer-encoding: chunked'],
    rest: CHUNKED,
  },
  {
    what: 'a stream of nothing',
    response: () => new Response(new ReadableStream({ start: (controller) => controller.close() })),
    framing: ['content-length: 0'],
    rest: '',
  },
  {
    what: 'a stream to a client that asked to close',
    response: () => new Response(streamOf('first', 'second')),
    request: CLOSE,
    framing: ['transfer-encoding: chunked', 'connection: close'],
    rest: CHUNKED,
    closed: true,
  },
  {
    what: 'a text to a client that asked to close',
    response: () => new Response('text'),
    request: CLOSE,
    framing: ['content-length: 4', 'connection: close'],
    rest: 'text',
    closed: true,
  },
  {
    what: 'a text that says close itself',
    response: () => new Response('text', { headers: { connection: 'Close' } }),
    framing: ['content-length: 4', 'connection: close'],
    rest: 'text',
    closed: true,
  },
  {
    what: 'a text to HTTP/1.0',
    response: () => new Response('text'),
    request: HTTP10,
    framing: ['content-length: 4', 'connection: close'],
    rest: 'text',
    closed: true,
  },
  {
    what: 'a text to HTTP/1.0 with keep-alive',
    response: () => new Response('text'),
    request: KEPT10,
    framing: ['content-length: 4', 'connection: keep-alive'],
    rest: 'text',
  },
  {
    what: 'a stream to HTTP/1.0',
    response: () => new Response(streamOf('first', 'second')),
    request: HTTP10,
    framing: ['connection: close'],
    rest: 'firstsecond',
    closed: true,
  },
  {
    what: 'a stream to HTTP/1.0 with keep-alive',
    response: () => new Response(streamOf('first', 'second')),
    request: KEPT10,
    framing: ['connection: close'],
    rest: 'firstsecond',
    closed: true,
  },
  {
    what: 'a text to HEAD',
    response: () => new Response('text'),
    request: HEAD,
    framing: ['content-length: 4'],
    rest: '',
  },
  {
    what: 'a length alone to HEAD',
    response: () => new Response(null, { headers: { 'content-length': '1234' } }),
    request: HEAD,
    framing: ['content-length: 1234'],
    rest: '',
  },
  { what: 'no body to HEAD', response: () => new Response(), request: HEAD, framing: [], rest: '' },
  {
    what: 'a stream to HEAD',
    response: () => new Response(streamOf('first', 'second')),
    request: HEAD,
    framing: [],
    rest: '',
  },
  {
    what: 'a stream of known length to HEAD',
    response: () => new Response(streamOf('first'), { headers: { 'content-length': '5' } }),
    request: HEAD,
    framing: ['content-length: 5'],
    rest: '',
  },
  {
    what: '204',
    response: () => new Response(null, { status: 204, headers: { 'content-length': '0' } }),
    status: '204 No Content',
    framing: [],
    rest: '',
  },
  {
    what: '304',
    response: () => new Response(null, { status: 304 }),
    status: '304 Not Modified',
    framing: [],
    rest: '',
  },
  {
    what: '304 with the length it would have had',
    response: () => new Response(null, { status: 304, headers: { 'content-length': '1234' } }),
    status: '304 Not Modified',
    framing: ['content-length: 1234'],
    rest: '',
  },
  {
    what: 'a redirect',
    response: () => new Response(null, { status: 302, headers: { location: '/x' } }),
    status: '302 Found',
    framing: ['content-length: 0'],
    rest: '',
  },
  {
    what: 'a status without a name',
    response: () => new Response('text', { status: 299 }),
    status: '299 ',
    framing: ['content-length: 4'],
    rest: 'text',
  },
  {
    what: 'a reason of its own',
    response: () => new Response('text', { status: 200, statusText: 'Fine' }),
    status: '200 Fine',
    framing: ['content-length: 4'],
    rest: 'text',
  },
]

describe('a response', () => {
  it.each(CASES)('that is $what', async ({ response, request, status = '200 OK', framing, rest, closed = false }) => {
    const stage = await answered(response, request)
    expect(stage.publisher.response(1).statusLine).toBe(`HTTP/1.1 ${status}`)
    expect(framingOf(stage)).toEqual(framing)
    expect(stage.publisher.response(1).rest).toBe(rest)
    expect(stage.publisher.closed(1)).toBe(closed)
    expect(stage.log.errors).toEqual([])
  })

  it.each(
    Object.keys(STATUS_CODES)
      .map(Number)
      .filter((status) => status >= 200),
  )('has the name of its status %d', async (status) => {
    const stage = await answered(() => new Response(null, { status }))
    expect(stage.publisher.response(1).statusLine).toBe(`HTTP/1.1 ${status} ${STATUS_CODES[status]}`)
  })

  it('sends its head though the first chunk of its body is late, as an event stream has to', async () => {
    const stage = setStage(
      () => new Response(new ReadableStream(), { headers: { 'content-type': 'text/event-stream' } }),
    )
    stage.receive(renderRequest())
    await turns(50)
    expect(stage.publisher.received(1)).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\ntransfer-encoding: chunked\r\n\r\n$/s)
    stage.epoch.lost()
    await stage.settled()
  })

  it('that is a blob arrives whole, with its length where the platform reads it at once', async () => {
    const stage = await answered(() => new Response(new Blob(['blob'])))
    expect([
      [['content-length: 4'], 'blob'],
      [['transfer-encoding: chunked'], '4\r\nblob\r\n0\r\n\r\n'],
    ]).toContainEqual([framingOf(stage), stage.publisher.response(1).rest])
  })

  it('leaves the connection for the next', async () => {
    const stage = setStage((request) => new Response(streamOf('first', new URL(request.url).pathname)))
    stage.receive(renderRequest({ target: '/1' }), renderRequest({ target: '/2' }))
    await stage.settled()
    expect(stage.publisher.received(1).match(/5\r\nfirst\r\n2\r\n\/\d\r\n0\r\n\r\n/g)).toHaveLength(2)
  })
})

describe('the headers of a response', () => {
  it('go out as they are, several Set-Cookie as several', async () => {
    const headers = new Headers({
      'content-type': 'text/html',
      'x-bytes': '\xe9',
      date: 'Thu, 01 Jan 1970 00:00:00 GMT',
    })
    headers.append('set-cookie', 'a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT')
    headers.append('set-cookie', 'b=2')
    headers.append('vary', 'a')
    headers.append('vary', 'b')
    const response = (await answered(() => new Response('text', { headers }))).publisher.response(1)
    expect(valuesOf(response, 'content-type')).toEqual(['text/html'])
    expect(valuesOf(response, 'set-cookie')).toEqual(['a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT', 'b=2'])
    expect(valuesOf(response, 'vary')).toEqual(['a, b'])
    expect(valuesOf(response, 'x-bytes')).toEqual(['\xe9'])
    expect(valuesOf(response, 'date')).toEqual(['Thu, 01 Jan 1970 00:00:00 GMT'])
  })

  it('include the date unless given', async () => {
    const [date] = valuesOf((await answered(() => new Response())).publisher.response(1), 'date')
    expect(date).toMatch(/^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/)
    expect(Math.abs(Date.now() - Date.parse(String(date)))).toBeLessThan(5000)
  })

  it('lose those that speak of one hop, and those that connection names', async () => {
    const headers = {
      connection: 'X-Named, x-absent',
      'keep-alive': 'timeout=5',
      'proxy-connection': 'keep-alive',
      te: 'trailers',
      trailer: 'x-t',
      'transfer-encoding': 'chunked',
      upgrade: 'h2c',
      'x-named': '1',
      'x-other': '2',
    }
    const { fields } = (await answered(() => new Response('text', { headers }))).publisher.response(1)
    expect(fields.map(([name]) => name).sort()).toEqual(['content-length', 'content-type', 'date', 'x-other'])
  })
})

describe('a response that disagrees with its length', () => {
  it.each<
    [what: string, body: () => ConstructorParameters<typeof Response>[0], length: string, rest: string, got: string]
  >([
    ['is longer', () => 'text', '3', 'tex', 'got more'],
    ['is longer in a later chunk', () => streamOf('first', 'second'), '8', 'firstsec', 'got more'],
    ['is shorter', () => 'text', '5', 'text', 'got 4'],
    ['is a stream that ends early', () => streamOf('first'), '8', 'first', 'got 5'],
    ['is missing', () => null, '5', '', 'got 0'],
  ])('because it %s ends with its connection, and is logged', async (_what, body, length, rest, got) => {
    const stage = await answered(() => new Response(body(), { headers: { 'content-length': length } }))
    expect(valuesOf(stage.publisher.response(1), 'content-length')).toEqual([length])
    expect(stage.publisher.response(1).rest).toBe(rest)
    expect(stage.publisher.closed(1)).toBe(true)
    expect(stage.log.errors).toEqual([expect.stringMatching(`expected ${length} bytes of body, .*, ${got}`)])
  })

  it('because it is endless is cancelled', async () => {
    const cancel = vi.fn()
    const body = () => new ReadableStream({ pull: (controller) => controller.enqueue(Buffer.from('a')), cancel })
    const stage = await answered(() => new Response(body(), { headers: { 'content-length': '3' } }))
    expect(stage.publisher.response(1).rest).toBe('aaa')
    expect(cancel).toHaveBeenCalledTimes(1)
  })

  it.each(['abc', '-1', '1.5', '', '1, 1'])('because its length is %j is a 500', async (length) => {
    const stage = await answered(() => new Response('text', { headers: { 'content-length': length } }))
    expect(stage.publisher.response(1).statusLine).toBe('HTTP/1.1 500 Internal Server Error')
    expect(stage.log.errors).toEqual([expect.stringMatching(/expected a number as the response's content-length/)])
    expect(stage.publisher.closed(1)).toBe(false)
  })
})

describe('a body that fails', () => {
  it('at once is a 500', async () => {
    const body = () => new ReadableStream({ start: (controller) => controller.error(new Error('broken')) })
    const stage = await answered(() => new Response(body()))
    expect(stage.publisher.response(1)).toMatchObject({
      statusLine: 'HTTP/1.1 500 Internal Server Error',
      rest: 'Internal Server Error',
    })
    expect(stage.publisher.closed(1)).toBe(false)
    expect(stage.log.errors).toEqual([expect.stringMatching(/could not be sent: Error: broken/)])
  })

  it.each<[what: string, parts: RequestParts, init: ResponseInit, rest: string]>([
    ['in chunks has no last chunk', {}, {}, '5\r\nfirst\r\n'],
    ['of known length is too short', {}, { headers: { 'content-length': '20' } }, 'first'],
    ['to HTTP/1.0 just ends', { version: 'HTTP/1.0' }, {}, 'first'],
  ])('after the head %s, and the connection is closed', async (_what, parts, init, rest) => {
    const stage = await answered(() => new Response(streamOf('first', new Error('broken')), init), parts)
    expect(stage.publisher.response(1)).toMatchObject({ statusLine: 'HTTP/1.1 200 OK', rest })
    expect(stage.publisher.closed(1)).toBe(true)
    expect(stage.log.errors).toEqual([expect.stringMatching(/closed a connection during a response: Error: broken/)])
  })

  it('with something that is no error is described', async () => {
    const body = new ReadableStream({ start: (controller) => controller.error('only a text') })
    const stage = await answered(() => new Response(body))
    expect(stage.log.errors).toEqual([expect.stringMatching(/only a text/)])
  })

  it.each([
    ['a number', 5],
    ['an array', [65]],
    ['null', null],
    ['nothing', undefined],
  ])('because its first chunk is %s is a 500, and is cancelled', async (_what, chunk) => {
    const cancel = vi.fn()
    const body = new ReadableStream({ start: (controller) => controller.enqueue(chunk), cancel })
    const stage = await answered(() => new Response(body))
    expect(stage.publisher.response(1).statusLine).toBe('HTTP/1.1 500 Internal Server Error')
    expect(stage.log.errors).toEqual([expect.stringMatching(/expected the body's chunks to be bytes or text, got/)])
    expect(cancel).toHaveBeenCalledTimes(1)
  })

  it.each<[what: string, chunk: unknown, bytes: string]>([
    ['text', 'caf\u00e9 \u{1f600}', 'caf\u00e9 \u{1f600}'],
    ['an ArrayBuffer', Uint8Array.of(0x41, 0x42).buffer, 'AB'],
    ['a DataView', new DataView(Uint8Array.of(0, 0x41, 0x42, 0).buffer, 1, 2), 'AB'],
    ['wider numbers', new Uint16Array(Uint8Array.of(0, 0, 0x41, 0x42).buffer, 2, 1), 'AB'],
    ['bytes of another realm', runInNewContext('Uint8Array.of(0x41, 0x42)'), 'AB'],
  ])('does not happen because its chunks are %s, with a length or without', async (_what, chunk, bytes) => {
    const expected = Buffer.from(bytes).toString('latin1')
    const short = () =>
      new ReadableStream({
        start(controller) {
          controller.enqueue(chunk)
          controller.close()
        },
      })
    const stage = await answered(() => new Response(short()))
    expect(stage.publisher.response(1)).toMatchObject({ statusLine: 'HTTP/1.1 200 OK', rest: expected })
    expect(framingOf(stage)).toEqual([`content-length: ${expected.length}`])
    let left = 2
    const long = () =>
      new ReadableStream({
        async pull(controller) {
          await turns(2)
          if (left-- > 0) controller.enqueue(chunk)
          else controller.close()
        },
      })
    const size = expected.length.toString(16)
    const streamed = await answered(() => new Response(long()))
    expect(streamed.publisher.response(1).rest).toBe(`${`${size}\r\n${expected}\r\n`.repeat(2)}0\r\n\r\n`)
  })

  it('because a later chunk is a number ends with its connection', async () => {
    let given = 0
    const body = new ReadableStream({
      async pull(controller) {
        await turns(2)
        controller.enqueue(given++ === 0 ? Buffer.from('first') : 5)
      },
    })
    const stage = await answered(() => new Response(body))
    expect(stage.publisher.response(1).rest).toBe('5\r\nfirst\r\n')
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('does not wait for a source that never finishes its cancellation', async () => {
    const body = () =>
      new ReadableStream({
        pull: (controller) => controller.enqueue(Buffer.from('a')),
        cancel: () => new Promise(() => {}),
      })
    const head = await answered(() => new Response(body()), { method: 'HEAD' })
    expect(head.publisher.response(1).statusLine).toBe('HTTP/1.1 200 OK')
    const long = await answered(() => new Response(body(), { headers: { 'content-length': '2' } }))
    expect(long.publisher.closed(1)).toBe(true)
  })
})

describe('a body that is not needed', () => {
  it.each<[what: string, parts: RequestParts, status: number]>([['for HEAD', { method: 'HEAD' }, 200]])(
    'is cancelled %s',
    async (_what, parts, status) => {
      const cancel = vi.fn()
      await answered(
        () => new Response(new ReadableStream({ cancel, pull: (c) => c.enqueue(Buffer.from('a')) }), { status }),
        parts,
      )
      expect(cancel).toHaveBeenCalledTimes(1)
    },
  )
})

describe('a response of another package', () => {
  /** What such a package may give: it is no Response, but can do what one can. */
  function alike(over: object = {}): Response {
    const { status, statusText, headers, body } = new Response('alike', { status: 201, headers: { 'x-a': '1' } })
    return { status, statusText, headers, body, ...over } as Response
  }

  it('is sent like any other', async () => {
    const stage = await answered(() => alike())
    const response = stage.publisher.response(1)
    expect([response.statusLine, valuesOf(response, 'x-a'), response.rest]).toEqual([
      'HTTP/1.1 201 Created',
      ['1'],
      'alike',
    ])
  })

  it.each([
    ['a status that is none', { status: 1000 }],
    ['an informational status', { status: 101 }],
    ['the status of an error', { status: 0 }],
    ['a body where there can be none', { status: 204 }],
  ])('is a 500 with %s', async (_what, over) => {
    const stage = await answered(() => alike(over))
    expect(stage.publisher.response(1).statusLine).toBe('HTTP/1.1 500 Internal Server Error')
    expect(stage.log.errors).toHaveLength(1)
  })

  it('keeps headers that can only be read by forEach', async () => {
    const headers = { forEach: (each: (value: string, name: string) => void) => each('1', 'x-a'), get: () => null }
    const stage = await answered(() => alike({ headers }))
    expect(valuesOf(stage.publisher.response(1), 'x-a')).toEqual(['1'])
  })
})

describe('a response of a subclass', () => {
  const SPLIT = 'Fine\r\nx-forged: yes'
  const headersOf = (name: string, value: string) => ({
    forEach: (each: (value: string, name: string) => void) => each(value, name),
    get: () => null,
  })

  it.each([
    ['a status text with a line break', 'statusText', SPLIT],
    ['a status text that is no text', 'statusText', 7],
    ['a header with a line break', 'headers', headersOf('x-a', SPLIT)],
    ['a header whose name has a line break', 'headers', headersOf('x-a: 1\r\nx-b', '2')],
  ])('is a 500 with %s', async (_what, key, value) => {
    class Own extends Response {}
    Object.defineProperty(Own.prototype, key, { get: () => value })
    const stage = await answered(() => new Own('text'))
    const response = stage.publisher.response(1)
    expect([response.statusLine, valuesOf(response, 'x-forged')]).toEqual(['HTTP/1.1 500 Internal Server Error', []])
  })

  it('is sent with what it says otherwise', async () => {
    class Own extends Response {}
    Object.defineProperty(Own.prototype, 'statusText', { get: () => 'Fine' })
    const stage = await answered(() => new Own('text', { headers: { 'x-a': '1' } }))
    const response = stage.publisher.response(1)
    expect([response.statusLine, valuesOf(response, 'x-a'), response.rest]).toEqual([
      'HTTP/1.1 200 Fine',
      ['1'],
      'text',
    ])
  })
})

describe('chunks of one turn', () => {
  it('go out in one message', async () => {
    const stage = setStage(
      () =>
        new Response(
          new ReadableStream({
            async start(controller) {
              for (let turn = 0; turn < 3; turn++) {
                await turns(3)
                for (let chunk = 0; chunk < 100; chunk++) controller.enqueue(Buffer.from('x'))
              }
              controller.close()
            },
          }),
        ),
    )
    stage.receive(renderRequest())
    await until(() => stage.publisher.received(1).endsWith('0\r\n\r\n'))
    expect(stage.publisher.received(1).match(/1\r\nx\r\n/g)).toHaveLength(300)
    expect(stage.publisher.payloadsFor(1).length).toBeLessThanOrEqual(8)
    await stage.settled()
  })
})
