import { describe, expect, it } from 'vitest'
import { type ServerWebSocket, Topic, type UpgradeWebSocketOptions, upgradeWebSocket } from '../../../src/index.ts'
import type { FetchHandler } from '../../../src/platform/handler.ts'
import { Gate } from '../../support/gate.ts'
import {
  HANDSHAKE_ACCEPT,
  renderDisconnect,
  renderFrameMessage,
  renderHandshake,
  renderRequest,
} from '../support/message.ts'
import { valuesOf } from '../support/reply.ts'
import { framesOf, openSocket, record } from '../support/sockets.ts'
import { setStage, turns, until } from '../support/stage.ts'

/** What happens at a socket whose handshake got another answer. */
const refusedWith = (status: number) => [
  `error the WebSocket did not open: its handshake was answered with ${status}`,
  'close 1006 ""',
]

const accept: FetchHandler = (request) => upgradeWebSocket(request).response

/** What a handshake with these options comes to: the head of the response. */
function headOf(options: UpgradeWebSocketOptions, headers: Record<string, string> = {}) {
  return openSocket(options, { headers }).stage
}

describe('A handshake', () => {
  it('is a GET with the client’s header fields, and env.mongrel2', async () => {
    const seen: unknown[] = []
    const stage = setStage((request, env) => {
      seen.push(
        request.method,
        request.url,
        request.headers.get('sec-websocket-key'),
        request.body,
        env.mongrel2.headers.METHOD,
      )
      return new Response('no')
    })
    stage.receive(renderHandshake({ target: '/chat?room=1' }))
    await stage.settled()
    expect(seen).toEqual([
      'GET',
      'http://example.org/chat?room=1',
      'dGhlIHNhbXBsZSBub25jZQ==',
      null,
      'WEBSOCKET_HANDSHAKE',
    ])
  })

  it('is answered with 101 and what Mongrel2 has made of its key', async () => {
    const { stage, socket, events } = openSocket()
    await turns()
    const response = stage.publisher.response(1)
    expect(response.statusLine).toBe('HTTP/1.1 101 Switching Protocols')
    expect(Object.fromEntries(response.fields)).toEqual({
      upgrade: 'websocket',
      connection: 'Upgrade',
      'sec-websocket-accept': HANDSHAKE_ACCEPT,
    })
    expect([socket.readyState, socket.url, socket.protocol, socket.extensions]).toEqual([
      1,
      'ws://example.org/',
      '',
      '',
    ])
    expect(events).toEqual(['open'])
    expect(stage.publisher.closed(1)).toBe(false)
  })

  const REFUSED: [
    what: string,
    headers: Record<string, string | readonly string[] | undefined>,
    status: number,
    version?: string,
  ][] = [
    ['another version', { 'sec-websocket-version': '8' }, 426],
    ['two versions', { 'sec-websocket-version': ['13', '8'] }, 426],
    ['no key of 16 bytes', { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ' }, 400],
    ['a key of 15 bytes', { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25j' }, 400],
    ['an empty key', { 'sec-websocket-key': '' }, 400],
    ['a key and a blank', { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ== ' }, 400],
    ['two keys', { 'sec-websocket-key': ['dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ=='] }, 400],
    ['a connection that is upgraded in name only', { connection: 'x-upgrade' }, 400],
    ['two things to upgrade to', { upgrade: ['websocket', 'h2c'] }, 400],
    ['a body', { 'content-length': '5' }, 400],
    ['a body in chunks', { 'transfer-encoding': 'chunked' }, 400],
    ['HTTP/1.0', { VERSION: 'HTTP/1.0' }, 400],
    ['a subprotocol that is no token', { 'sec-websocket-protocol': 'a, b c' }, 400],
    ['a subprotocol twice', { 'sec-websocket-protocol': ['chat', 'chat'] }, 400],
    ['two origins', { origin: ['http://a.example', 'http://b.example'] }, 400],
    ['no host', { host: undefined }, 400],
  ]
  it.each(REFUSED)('with %s is refused before the handler is called, and closed', async (_what, headers, status) => {
    const stage = setStage(accept)
    stage.receive(renderHandshake({ headers }), renderFrameMessage(1, '0x81', 'late'))
    await stage.settled()
    const response = stage.publisher.response(1)
    expect(response.statusLine).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(valuesOf(response, 'sec-websocket-version')).toEqual(status === 426 ? ['13'] : [])
    expect(stage.publisher.closed(1)).toBe(true)
    expect(stage.application.counters).toMatchObject({ requests: 0, rejected: 2 })
  })

  it('that the handler answers with anything but its 101 is answered and closed, and its socket fails', async () => {
    const events: string[] = []
    const sockets: ServerWebSocket[] = []
    const stage = setStage(async (request) => {
      const { socket } = upgradeWebSocket(request)
      record(socket, events)
      sockets.push(socket)
      await turns(2)
      return new Response('not you', { status: 403 })
    })
    stage.receive(renderHandshake(), renderFrameMessage(1, '0x81', 'early'))
    await stage.settled()
    expect(stage.publisher.response(1)).toMatchObject({ statusLine: 'HTTP/1.1 403 Forbidden', rest: 'not you' })
    expect(stage.publisher.closed(1)).toBe(true)
    expect(events).toEqual(refusedWith(403))
    expect(sockets[0]?.readyState).toBe(3)
  })

  it('takes no place among the handlers that run once it was answered', async () => {
    const stage = setStage(accept, { maxInFlight: 1, maxQueued: 0 })
    for (let id = 1; id <= 5; id++) stage.receive(renderHandshake({ connectionId: id }))
    await turns()
    for (let id = 1; id <= 5; id++) expect(stage.publisher.response(id).statusLine).toContain('101')
    expect(stage.application.admission.inFlight).toBe(0)
    expect(stage.epoch.connections.size).toBe(5)
  })

  it('whose client leaves before it is answered closes its socket with 1006', async () => {
    const gate = new Gate()
    const events: string[] = []
    const stage = setStage(async (request) => {
      const { socket, response } = upgradeWebSocket(request)
      record(socket, events)
      await gate.pass('answer')
      return response
    })
    stage.receive(renderHandshake(), renderDisconnect(1))
    expect(events).toEqual(['close 1006 ""'])
    gate.open('answer')
    await stage.settled()
    expect(events).toHaveLength(1)
    expect(stage.publisher.replies).toEqual([])
  })

  it('that takes too long gets a 504, and its socket is closed', async () => {
    const events: string[] = []
    const stage = setStage(
      (request) => {
        record(upgradeWebSocket(request).socket, events)
        return new Promise<Response>(() => {})
      },
      { requestTimeout: 10 },
    )
    stage.receive(renderHandshake())
    await stage.settled()
    expect(stage.publisher.response(1).statusLine).toContain('504')
    expect(events).toEqual(refusedWith(504))
  })
})

describe('Frames that come before the 101', () => {
  it('are delivered in their order once the socket is open', async () => {
    const gate = new Gate()
    const events: string[] = []
    const stage = setStage(async (request) => {
      await gate.pass('answer')
      const { socket, response } = upgradeWebSocket(request)
      record(socket, events)
      return response
    })
    stage.receive(renderHandshake(), renderFrameMessage(1, '0x81', 'one'), renderFrameMessage(1, '0x89', 'ping'))
    stage.receive(renderFrameMessage(1, '0x82', 'two'))
    await gate.arrival('answer')
    gate.open('answer')
    await until(() => events.length > 2)
    stage.receive(renderFrameMessage(1, '0x81', 'three'))
    await turns()
    expect(events).toEqual(['open', 'text one', 'bytes two', 'text three'])
    expect(framesOf(stage.publisher, 1)).toEqual(['pong "ping"'])
  })

  it.each([
    ['129 of them', 129, ''],
    ['more than a mebibyte', 3, 'x'.repeat(600_000)],
  ])('end the connection when there are %s', async (_what, count, payload) => {
    const stage = setStage(() => new Promise<Response>(() => {}))
    stage.receive(renderHandshake())
    for (let n = 1; n < count; n++) stage.receive(renderFrameMessage(1, '0x81', payload))
    await turns()
    expect(stage.publisher.replies).toEqual([])
    stage.receive(renderFrameMessage(1, '0x81', payload))
    await turns()
    expect(stage.publisher.payloadsFor(1).map(({ length }) => length)).toEqual([0])
  })
})

describe('upgradeWebSocket', () => {
  it('throws for a request that is no handshake, and a handler that lets it through answers 426', async () => {
    const stage = setStage(accept)
    stage.receive(renderRequest({ headers: { upgrade: 'websocket', connection: 'upgrade' } }))
    await stage.settled()
    const response = stage.publisher.response(1)
    expect(response.statusLine).toBe('HTTP/1.1 426 Upgrade Required')
    expect(valuesOf(response, 'sec-websocket-version')).toEqual(['13'])
    expect(stage.log).toEqual({ warnings: [], errors: [] })
    expect(() => upgradeWebSocket(new Request('http://localhost/'))).toThrow(
      expect.objectContaining({ name: 'Mongrel2Error', code: 'not_a_handshake' }),
    )
  })

  it('throws the second time', async () => {
    const errors: unknown[] = []
    const stage = setStage((request) => {
      const { response } = upgradeWebSocket(request)
      try {
        upgradeWebSocket(request)
      } catch (error) {
        errors.push(error)
      }
      return response
    })
    stage.receive(renderHandshake())
    await turns()
    expect(errors).toEqual([expect.objectContaining({ code: 'not_a_handshake' })])
    expect(stage.publisher.response(1).statusLine).toContain('101')
  })

  it('finds the handshake by env where the request is another', async () => {
    const stage = setStage((request, env) => upgradeWebSocket(new Request(request), {}, env).response)
    stage.receive(renderHandshake())
    await turns()
    expect(stage.publisher.response(1).statusLine).toContain('101')
  })

  const WRONG: [what: string, options: unknown, message: RegExp][] = [
    ['an unknown name', { protocoll: 'x' }, /there is no option of upgradeWebSocket protocoll/],
    [
      'a subprotocol that was not offered',
      { protocol: 'other' },
      /protocol: expected one that the client offers \(chat, v2\)/,
    ],
    ['a subprotocol with a line break', { protocol: 'chat\r\nset-cookie: a=b' }, /protocol/],
    ['a header with a line break', { headers: { 'x-a': 'b\r\nset-cookie: a=b' } }, /headers: expected header fields/],
    ['a header that is ours', { headers: { 'Sec-WebSocket-Accept': 'x' } }, /headers: .*sec-websocket-accept/],
    ['a length', { headers: { 'content-length': '3' } }, /headers/],
    ['a negative time', { idleTimeout: -1 }, /idleTimeout: expected an integer from 0/],
    ['a text for a size', { maxPayload: '1' }, /maxPayload/],
    ['more than comes', { maxPayload: 16 * 1024 * 1024 + 1 }, /maxPayload: expected at most the option maxMessageSize/],
    ['no buffer', { maxBufferedBytes: 0 }, /maxBufferedBytes/],
    ['a number for the compression', { perMessageDeflate: 1 }, /perMessageDeflate: expected true or false/],
    ['an unknown name for it', { perMessageDeflate: { level: 1 } }, /perMessageDeflate level/],
    ['a text as origin', { origin: 'http://a.example' }, /origin: expected a list/],
  ]
  it.each(WRONG)('refuses %s among its options', async (_what, options, message) => {
    const stage = setStage((request) => upgradeWebSocket(request, options as UpgradeWebSocketOptions).response)
    stage.receive(renderHandshake({ headers: { 'sec-websocket-protocol': 'chat, v2' } }))
    await stage.settled()
    expect(stage.publisher.response(1).statusLine).toContain('500')
    expect(stage.log.errors).toEqual([expect.stringMatching(message)])
  })

  it('agrees upon a subprotocol of the client’s, in the spelling it has there', async () => {
    const { stage, socket } = openSocket({ protocol: 'V2' }, { headers: { 'sec-websocket-protocol': 'chat,V2' } })
    await turns()
    expect(socket.protocol).toBe('V2')
    expect(valuesOf(stage.publisher.response(1), 'sec-websocket-protocol')).toEqual(['V2'])
  })

  it('sends more header fields', async () => {
    const stage = headOf({
      headers: [
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2'],
        ['x-a', 'c'],
      ],
    })
    await turns()
    const response = stage.publisher.response(1)
    expect([valuesOf(response, 'set-cookie'), valuesOf(response, 'x-a')]).toEqual([['a=1', 'b=2'], ['c']])
  })

  const DEFLATE = { 'sec-websocket-extensions': 'permessage-deflate; client_max_window_bits' }
  it.each([
    ['by default', {}, DEFLATE, []],
    ['where the client cannot', { perMessageDeflate: true }, {}, []],
    ['not another extension', { perMessageDeflate: true }, { 'sec-websocket-extensions': 'x-other' }, []],
    [
      'where both can',
      { perMessageDeflate: true },
      DEFLATE,
      ['permessage-deflate; server_no_context_takeover; client_no_context_takeover'],
    ],
    ['with takeover', { perMessageDeflate: { contextTakeover: true } }, DEFLATE, ['permessage-deflate']],
  ])('agrees upon compression: %s', async (_when, options, headers, expected) => {
    const { stage, socket } = openSocket(options, { headers: headers as Record<string, string> })
    await turns()
    expect(valuesOf(stage.publisher.response(1), 'sec-websocket-extensions')).toEqual(expected)
    expect(socket.extensions).toBe(expected[0] ?? '')
  })

  const PAGE = 'https://example.org'
  const ORIGINS: [check: UpgradeWebSocketOptions['origin'], origin: string | undefined, allowed: boolean][] = [
    [undefined, 'https://evil.example', true],
    [[PAGE], PAGE, true],
    [[PAGE], 'https://evil.example', false],
    [[PAGE], undefined, false],
    [/^https:\/\/(\w+\.)?example\.org$/g, 'https://www.example.org', true],
    [/^https:\/\/(\w+\.)?example\.org$/, 'https://example.org.evil.example', false],
    [/./, undefined, false],
    [(origin) => origin === undefined, undefined, true],
    [(origin) => origin === undefined, PAGE, false],
  ]
  it.each(ORIGINS)('with origin %s lets a page of %s in: %s', async (origin, header, allowed) => {
    const options = origin === undefined ? {} : { origin }
    const { stage, events } = openSocket(options, { headers: header === undefined ? {} : { origin: header } })
    await turns()
    expect(stage.publisher.response(1).statusLine).toBe(
      allowed ? 'HTTP/1.1 101 Switching Protocols' : 'HTTP/1.1 403 Forbidden',
    )
    expect(events).toEqual(allowed ? ['open'] : refusedWith(403))
    expect(stage.publisher.closed(1)).toBe(!allowed)
  })
})

describe('The response of upgradeWebSocket', () => {
  it('is a Response with the status 101', () => {
    let response: Response | undefined
    setStage((request) => {
      response = upgradeWebSocket(request).response
      return response
    }).receive(renderHandshake())
    expect(response).toBeInstanceOf(Response)
    expect([response?.status, response?.statusText, response?.ok, response?.body]).toEqual([
      101,
      'Switching Protocols',
      false,
      null,
    ])
  })

  const REWRAPPED: [how: string, wrap: (response: Response) => Response | Promise<Response>][] = [
    [
      'whose headers were set',
      (response) => {
        response.headers.set('x-a', 'b')
        response.headers.set('sec-websocket-protocol', 'made up')
        return response
      },
    ],
    [
      'made anew with its body and headers',
      (response) => {
        const headers = new Headers(response.headers)
        headers.set('x-a', 'b')
        headers.set('content-type', 'text/plain')
        return new Response(response.body, { headers })
      },
    ],
    [
      'cloned',
      (response) => {
        const clone = response.clone()
        clone.headers.set('x-a', 'b')
        return clone
      },
    ],
    [
      'awaited',
      async (response) => {
        await turns()
        response.headers.set('x-a', 'b')
        return response
      },
    ],
  ]
  it.each(REWRAPPED)('opens the socket %s, and says no more than it may', async (_how, wrap) => {
    for (const overrideGlobalObjects of [false, true]) {
      const stage = setStage((request) => wrap(upgradeWebSocket(request).response), { overrideGlobalObjects })
      stage.receive(renderHandshake())
      await until(() => stage.publisher.replies.length > 0)
      const response = stage.publisher.response(1)
      expect(response.statusLine).toBe('HTTP/1.1 101 Switching Protocols')
      expect(response.fields.map(([name]) => name).sort()).toEqual([
        'connection',
        'sec-websocket-accept',
        'upgrade',
        'x-a',
      ])
      expect(stage.publisher.closed(1)).toBe(false)
    }
  })

  /** As Hono does: what replaces a response has its header fields, too. */
  const merged = (body: string | null, init: ResponseInit, { headers }: Response) => {
    const all = new Headers(headers)
    for (const [name, value] of new Headers(init.headers)) all.set(name, value)
    return new Response(body, { ...init, headers: all })
  }
  const REPLACED: [how: string, status: number, replace: (response: Response) => Response | Promise<Response>][] = [
    ['a 403', 403, (response) => merged('no', { status: 403 }, response)],
    ['a 401 without a body', 401, (response) => merged(null, { status: 401 }, response)],
    ['a redirect', 302, (response) => merged(null, { status: 302, headers: { location: '/login' } }, response)],
    ['a 500', 500, (response) => merged('Internal Server Error', { status: 500 }, response)],
    ['a 426', 426, (response) => merged(null, { status: 426, headers: { 'sec-websocket-version': '13' } }, response)],
    ['a 204', 204, (response) => merged(null, { status: 204 }, response)],
    ['a 200 with a text', 200, (response) => merged('Log in first.', {}, response)],
    ['JSON', 200, ({ headers }) => Response.json({ error: 'no' }, { headers })],
    [
      'a late 403',
      403,
      async (response) => {
        await turns(2)
        return merged('no', { status: 403 }, response)
      },
    ],
    ['a stream', 200, ({ headers }) => new Response(new Blob(['no']).stream(), { headers })],
  ]
  it.each(REPLACED)('does not open the socket when %s has replaced it', async (_how, status, replace) => {
    for (const overrideGlobalObjects of [false, true]) {
      const topic = new Topic()
      const events: string[] = []
      const sockets: ServerWebSocket[] = []
      const stage = setStage(
        (request) => {
          const options = { protocol: 'chat', perMessageDeflate: true, idleTimeout: 10, headers: { 'x-a': 'b' } }
          const { socket, response } = upgradeWebSocket(request, options)
          record(socket, events)
          sockets.push(socket)
          topic.add(socket)
          return replace(response)
        },
        { overrideGlobalObjects },
      )
      const headers = { 'sec-websocket-protocol': 'chat', 'sec-websocket-extensions': 'permessage-deflate' }
      stage.receive(renderHandshake({ headers }), renderFrameMessage(1, '0x81', 'early'))
      await stage.settled()
      const response = stage.publisher.response(1)
      expect(response.statusLine).toMatch(`HTTP/1.1 ${status} `)
      const names = response.fields.map(([name]) => name)
      expect(names.filter((name) => /^sec-websocket-(?!version)|^upgrade$/.test(name))).toEqual([])
      expect(valuesOf(response, 'x-a')).toEqual(['b'])
      expect(valuesOf(response, 'connection')).toEqual(['close'])
      expect(valuesOf(response, 'sec-websocket-version')).toEqual(status === 426 ? ['13'] : [])
      expect(stage.publisher.closed(1)).toBe(true)
      expect(events).toEqual(refusedWith(status))
      expect([topic.size, sockets[0]?.readyState, stage.epoch.connections.size]).toEqual([0, 3, 0])
      expect(topic.add(sockets[0] as ServerWebSocket).size).toBe(0)
      expect(stage.log).toEqual({ warnings: [], errors: [] })
    }
  })

  it('that refuses the origin does not open the socket, whatever is made of it', async () => {
    const stage = setStage((request) => {
      const { response } = upgradeWebSocket(request, { origin: ['https://example.org'] })
      const accept = { 'sec-websocket-accept': HANDSHAKE_ACCEPT }
      return request.url.endsWith('/wrapped') ? new Response(null, { headers: accept }) : response
    })
    stage.receive(renderHandshake(), renderHandshake({ connectionId: 2, target: '/wrapped' }))
    await stage.settled()
    expect(stage.publisher.response(1).statusLine).toBe('HTTP/1.1 403 Forbidden')
    expect(stage.publisher.response(2).statusLine).toBe('HTTP/1.1 200 OK')
    expect(valuesOf(stage.publisher.response(2), 'sec-websocket-accept')).toEqual([])
  })

  it('opens the socket also when its own header fields were deleted', async () => {
    const stage = setStage((request) => {
      const { response } = upgradeWebSocket(request)
      response.headers.delete('sec-websocket-accept')
      return response
    })
    stage.receive(renderHandshake())
    await turns()
    expect(valuesOf(stage.publisher.response(1), 'sec-websocket-accept')).toEqual([HANDSHAKE_ACCEPT])
    expect(stage.publisher.response(1).statusLine).toContain('101')
  })

  it('is a 500 for another handshake, or a request that is none', async () => {
    let kept: Response | undefined
    const stage = setStage((request) => {
      kept ??= upgradeWebSocket(request).response
      return kept
    })
    stage.receive(renderHandshake(), renderHandshake({ connectionId: 2 }), renderRequest({ connectionId: 3 }))
    await until(() => stage.publisher.received(2) !== '' && stage.publisher.received(3) !== '')
    for (const id of [2, 3]) expect(stage.publisher.response(id).statusLine).toContain('500')
    expect(stage.publisher.closed(2)).toBe(true)
    expect(stage.log.errors).toHaveLength(2)
  })
})
