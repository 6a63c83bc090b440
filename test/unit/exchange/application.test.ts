import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { FetchHandler, Mongrel2Context } from '../../../src/platform/handler.ts'
import { noRoute, responseOf } from '../../../src/platform/outcomes.ts'
import { Gate } from '../../support/gate.ts'
import { renderDisconnect, renderRequest } from '../support/message.ts'
import { valuesOf } from '../support/reply.ts'
import { setStage, turns, until } from '../support/stage.ts'

const pathOf = (request: Request) => new URL(request.url).pathname

describe('handlers that run at once', () => {
  it('of one read begin one after the other, each once what the one before goes on with has run', async () => {
    const steps: string[] = []
    const stage = setStage(async (request) => {
      for (let step = 1; step <= 20; step++) await Promise.resolve(steps.push(pathOf(request)))
      return new Response()
    })
    stage.receive(...[1, 2, 3].map((id) => renderRequest({ connectionId: id, target: `/${id}` })))
    await stage.settled()
    expect(steps).toEqual([1, 2, 3].flatMap((id) => Array.from({ length: 20 }, () => `/${id}`)))
  })

  it.each([
    [
      'that are quick let 16 answers go together',
      0,
      [17, 16, 16, 11].flatMap((times, at) => Array(times).fill(16 * at)),
    ],
    ['that take longer let all answers go together', 0.1, Array(60).fill(0)],
  ])('of one read %s', async (_what, milliseconds, expected) => {
    let now = performance.now()
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now)
    const published: number[] = []
    const stage = setStage(() => {
      published.push(stage.publisher.replies.length)
      now += milliseconds
      return responseOf(noRoute())
    })
    stage.receive(...Array.from({ length: 60 }, (_, n) => renderRequest({ connectionId: n + 1 })))
    clock.mockRestore()
    await stage.settled()
    expect(published).toEqual(expected)
  })

  it('that wait for another’s microtasks are not made for clients that leave meanwhile', async () => {
    const called: string[] = []
    const stage = setStage(async (request) => {
      called.push(pathOf(request))
      return new Response()
    })
    stage.receive(...[1, 2, 3].map((id) => renderRequest({ connectionId: id, target: `/${id}` })), renderDisconnect(2))
    await stage.settled()
    expect([called, stage.application.admission.inFlight]).toEqual([['/1', '/3'], 0])
  })

  it('are as many as maxInFlight; maxQueued more wait, and those beyond get a 503 that keeps the connection', async () => {
    const gate = new Gate()
    const called: string[] = []
    const stage = setStage(
      async (request) => {
        called.push(pathOf(request))
        await gate.pass(pathOf(request))
        return new Response(pathOf(request))
      },
      { maxInFlight: 2, maxQueued: 1 },
    )
    for (let id = 1; id <= 4; id++) stage.receive(renderRequest({ connectionId: id, target: `/${id}` }))
    await until(() => stage.publisher.received(4) !== '')
    expect(called).toEqual(['/1', '/2'])
    const refused = stage.publisher.response(4)
    expect(refused.statusLine).toBe('HTTP/1.1 503 Service Unavailable')
    expect([valuesOf(refused, 'retry-after'), valuesOf(refused, 'connection')]).toEqual([['1'], []])
    expect(stage.publisher.closed(4)).toBe(false)
    expect(stage.application.admission.inFlight).toBe(2)
    gate.open('/2')
    await gate.arrival('/3')
    expect(called).toEqual(['/1', '/2', '/3'])
    gate.open('/3')
    gate.open('/1')
    await stage.settled()
    expect(stage.publisher.received(3)).toMatch(/\/3$/)
    expect(stage.application.counters).toMatchObject({ requests: 3, rejected: 1 })
    expect(stage.application.admission.inFlight).toBe(0)
  })

  it('do not count once they have returned a stream', async () => {
    const stage = setStage(
      () => new Response(new ReadableStream({ start: (controller) => controller.enqueue(Buffer.from('a')) })),
      { maxInFlight: 1, maxQueued: 0 },
    )
    for (let id = 1; id <= 5; id++) {
      stage.receive(renderRequest({ connectionId: id }))
      await until(() => stage.publisher.received(id) !== '')
    }
    expect(stage.application.counters).toMatchObject({ requests: 5, rejected: 0 })
    stage.epoch.lost()
    await stage.settled()
  })

  it('do not include those whose client left while they waited', async () => {
    const gate = new Gate()
    const called: string[] = []
    const stage = setStage(
      async (request) => {
        called.push(pathOf(request))
        await gate.pass(pathOf(request))
        return new Response()
      },
      { maxInFlight: 1 },
    )
    for (let id = 1; id <= 3; id++) stage.receive(renderRequest({ connectionId: id, target: `/${id}` }))
    stage.receive(renderDisconnect(2))
    gate.open('/1')
    await gate.arrival('/3')
    expect(called).toEqual(['/1', '/3'])
    gate.open('/3')
    await stage.settled()
    expect(stage.application.admission.inFlight).toBe(0)
  })

  it('do not include those whose body failed while they waited: they were answered then', async () => {
    const gate = new Gate()
    const called: string[] = []
    const stage = setStage(
      async (request) => {
        called.push(pathOf(request))
        await gate.pass(pathOf(request))
        return new Response()
      },
      { maxInFlight: 1 },
    )
    const upload = { method: 'PUT', headers: { 'content-length': '100', UPLOAD_STREAM: '0' } }
    stage.receive(renderRequest({ connectionId: 1, target: '/1' }))
    stage.receive(renderRequest({ connectionId: 2, target: '/2', ...upload }))
    stage.receive(renderRequest({ connectionId: 3, target: '/3' }))
    stage.epoch.closing.stopPulling()
    await until(() => stage.publisher.received(2).includes('503'))
    gate.open('/1')
    await until(() => called.length === 2)
    expect(called).toEqual(['/1', '/3'])
    gate.open('/3')
    await until(() => stage.application.admission.inFlight === 0)
    stage.epoch.lost()
    await stage.settled()
  })

  it('give their place back when they throw', async () => {
    const stage = setStage(
      () => {
        throw new Error('broken')
      },
      { maxInFlight: 1, maxQueued: 10 },
    )
    for (let id = 1; id <= 5; id++) stage.receive(renderRequest({ connectionId: id }))
    await stage.settled()
    expect(stage.application.counters).toMatchObject({ requests: 5, rejected: 0 })
    expect(stage.application.admission.inFlight).toBe(0)
  })
})

describe('a handler that fails', () => {
  const FAILURES: [how: string, fetch: FetchHandler, logged: RegExp][] = [
    [
      'throws',
      () => {
        throw new Error('secret')
      },
      /the handler failed on GET http:\/\/example\.org\/: Error: secret\n +at /,
    ],
    ['rejects', () => Promise.reject(new Error('secret')), /Error: secret/],
    ['throws a string', () => Promise.reject('secret'), /: secret$/],
    ['throws nothing', () => Promise.reject(undefined), /: undefined$/],
    ['returns nothing', () => undefined as never, /expected the handler to return a Response, got undefined/],
    ['returns null', () => null as never, /got null/],
    ['returns a string', () => 'secret' as never, /got secret/],
    ['returns an object', () => ({ status: 200 }) as never, /got an object of Object/],
    ['returns Response.error()', () => Response.error(), /got Response\.error\(\)/],
    [
      'returns a response that was read',
      async () => {
        const response = new Response('secret')
        await response.text()
        return response
      },
      /expected a Response whose body was not read yet/,
    ],
    [
      'returns a response that is being read',
      () => {
        const response = new Response('secret')
        response.body?.getReader()
        return response
      },
      /expected a Response whose body was not read yet/,
    ],
  ]

  it.each(FAILURES)('because it %s is answered with a bare 500 and logged once', async (_how, fetch, logged) => {
    const stage = setStage(fetch)
    stage.receive(renderRequest())
    await stage.settled()
    const response = stage.publisher.response(1)
    expect([response.statusLine, response.rest]).toEqual([
      'HTTP/1.1 500 Internal Server Error',
      'Internal Server Error',
    ])
    expect(stage.publisher.closed(1)).toBe(false)
    expect(stage.log).toEqual({ warnings: [], errors: [expect.stringMatching(logged)] })
  })

  it('is answered by onError, which gets the error and the request', async () => {
    const error = new Error('broken')
    const onError = vi.fn(async (_error: unknown, request: Request) => new Response(pathOf(request), { status: 418 }))
    const stage = setStage(() => Promise.reject(error), { onError })
    stage.receive(renderRequest({ target: '/tea' }))
    await stage.settled()
    expect(onError.mock.calls[0]?.[0]).toBe(error)
    expect(stage.publisher.response(1)).toMatchObject({ statusLine: "HTTP/1.1 418 I'm a Teapot", rest: '/tea' })
    expect(stage.log.errors).toEqual([])
  })

  it.each<[how: string, onError: () => Response | undefined, errors: RegExp[]]>([
    ['returns nothing', () => undefined, [/the handler failed .*first/]],
    [
      'throws',
      () => {
        throw new Error('second')
      },
      [/onError failed: Error: second/, /the handler failed .*first/],
    ],
    ['returns no Response', () => 'text' as never, [/onError failed: .*got text/, /the handler failed .*first/]],
  ])('is answered with 500 where onError %s', async (_how, onError, errors) => {
    const stage = setStage(() => Promise.reject(new Error('first')), { onError })
    stage.receive(renderRequest())
    await stage.settled()
    expect(stage.publisher.response(1).statusLine).toBe('HTTP/1.1 500 Internal Server Error')
    expect(stage.log.errors).toEqual(errors.map((pattern) => expect.stringMatching(pattern)))
  })

  it('because its client left is not logged and not answered', async () => {
    const stage = setStage(
      (request) =>
        new Promise((_resolve, reject) =>
          request.signal.addEventListener('abort', () => reject(request.signal.reason)),
        ),
    )
    stage.receive(renderRequest(), renderDisconnect(1))
    await stage.settled()
    expect(stage.publisher.replies).toEqual([])
    expect(stage.log.errors).toEqual([])
  })
})

describe('requestTimeout', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('answers 504, aborts the signal, gives the place back and drops what comes later', async () => {
    const gate = new Gate()
    const cancel = vi.fn()
    let signal: AbortSignal | undefined
    const stage = setStage(
      async (request) => {
        if (pathOf(request) !== '/slow') return new Response('next')
        signal = request.signal
        await gate.pass('/slow')
        return new Response(new ReadableStream({ cancel }))
      },
      { requestTimeout: 1000, maxInFlight: 1 },
    )
    stage.receive(renderRequest({ target: '/slow' }), renderRequest({ connectionId: 2 }))
    vi.advanceTimersByTime(999)
    await turns(3)
    expect([stage.publisher.replies.length, signal?.aborted]).toEqual([0, false])
    vi.advanceTimersByTime(1)
    await until(() => stage.publisher.replies.length === 2)
    expect(stage.publisher.response(1)).toMatchObject({
      statusLine: 'HTTP/1.1 504 Gateway Timeout',
      rest: 'Gateway Timeout',
    })
    expect(stage.publisher.response(2).rest).toBe('next')
    expect(signal?.reason).toMatchObject({ name: 'TimeoutError' })
    expect(stage.log.warnings).toEqual([expect.stringMatching(/longer than requestTimeout, 1000 ms/)])
    gate.open('/slow')
    await stage.settled()
    await turns(3)
    expect(cancel).toHaveBeenCalledTimes(1)
    expect(stage.publisher.replies).toHaveLength(2)
    expect(stage.application.admission.inFlight).toBe(0)
    expect(vi.getTimerCount()).toBe(2) // the sweep of connections, and their signs of life
  })

  it('does not touch a stream that goes on', async () => {
    let signal: AbortSignal | undefined
    let body: ReadableStreamDefaultController | undefined
    const stage = setStage(
      (request) => {
        signal = request.signal
        return new Response(
          new ReadableStream({
            start: (controller) => {
              body = controller
            },
          }),
        )
      },
      { requestTimeout: 1000 },
    )
    stage.receive(renderRequest())
    await turns(3)
    vi.advanceTimersByTime(5000)
    await turns(3)
    body?.close()
    await stage.settled()
    expect(signal?.aborted).toBe(false)
    expect(stage.publisher.response(1).statusLine).toBe('HTTP/1.1 200 OK')
    expect(stage.log.warnings).toEqual([])
  })
})

describe('ctx', () => {
  async function withContext(use: (ctx: Mongrel2Context) => void) {
    const stage = setStage((_request, _env, ctx) => {
      use(ctx)
      return new Response('done')
    })
    stage.receive(renderRequest())
    await turns(3)
    return stage
  }

  it('waits until what waitUntil was given is done, but the response does not', async () => {
    const gate = new Gate()
    const stage = await withContext((ctx) => ctx.waitUntil(gate.pass('work')))
    expect(stage.publisher.response(1).rest).toBe('done')
    let settled = false
    const waiting = stage.application.settled().then(() => {
      settled = true
    })
    await turns(5)
    expect(settled).toBe(false)
    gate.open('work')
    await waiting
    expect(settled).toBe(true)
  })

  it('waits for what is given while it waits', async () => {
    const gate = new Gate()
    const stage = await withContext((ctx) => ctx.waitUntil(gate.pass('1').then(() => ctx.waitUntil(gate.pass('2')))))
    let settled = false
    const waiting = stage.application.settled().then(() => {
      settled = true
    })
    gate.open('1')
    await gate.arrival('2')
    await turns(5)
    expect(settled).toBe(false)
    gate.open('2')
    await waiting
  })

  it('logs what fails', async () => {
    const stage = await withContext((ctx) => ctx.waitUntil(Promise.reject(new Error('broken'))))
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe('done')
    expect(stage.log.errors).toEqual([expect.stringMatching(/work in the background failed: Error: broken/)])
  })

  it('has what handlers written for other runtimes expect', async () => {
    const stage = await withContext((ctx) => {
      expect(ctx.passThroughOnException()).toBeUndefined()
      expect(ctx.props).toEqual({})
    })
    expect(stage.log.errors).toEqual([])
  })
})

describe('request.signal', () => {
  it('is the same one each time, and made only when somebody looks', async () => {
    let made = 0
    class CountedAbortController extends AbortController {
      constructor() {
        super()
        made++
      }
    }
    vi.stubGlobal('AbortController', CountedAbortController)
    const signals: AbortSignal[] = []
    const stage = setStage((request) => {
      if (pathOf(request) === '/look') signals.push(request.signal, request.signal)
      return new Response('done')
    })
    stage.receive(renderRequest())
    await stage.settled()
    const before = made
    stage.receive(renderRequest({ target: '/look' }))
    await stage.settled()
    expect(signals[0]).toBe(signals[1])
    expect(signals[0]).toBeInstanceOf(AbortSignal)
    expect(made - before).toBe(before + 1) // the platform's constructor may make one of its own each time
    vi.unstubAllGlobals()
  })
})
