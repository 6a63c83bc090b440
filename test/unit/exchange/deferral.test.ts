import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parseToken } from '../../../src/connection/token.ts'
import type { DeferOptions, Deferral, FetchHandler } from '../../../src/index.ts'
import { Gate } from '../../support/gate.ts'
import { renderCredits, renderDisconnect, renderHandshake, renderPart, renderRequest } from '../support/message.ts'
import { type Stage, type StageOptions, setStage, turns, until } from '../support/stage.ts'

let stage: Stage
let gate: Gate
let deferrals: Deferral[]
let requests: Request[]

/** Defers `/defer`, answers everything else with its path when the gate is opened, or at once. */
function set(options: StageOptions & DeferOptions = {}, wrap = (response: Response) => response): void {
  const { timeout = 60_000, ...rest } = options
  const fetch: FetchHandler = async (request, env) => {
    const { pathname } = new URL(request.url)
    requests.push(request)
    if (pathname.startsWith('/slow') || pathname === '/defer-late') await gate.pass(pathname)
    if (!pathname.startsWith('/defer')) return new Response(pathname)
    const deferral = await env.mongrel2.defer({ timeout })
    deferrals.push(deferral)
    return wrap(deferral.response)
  }
  stage = setStage(fetch, rest)
}

beforeEach(() => {
  gate = new Gate()
  deferrals = []
  requests = []
})

afterEach(() => {
  vi.useRealTimers()
})

const deferred = renderRequest({ target: '/defer' })

describe('a deferred request', () => {
  it('is not answered, and its token says whom to answer and how', async () => {
    set({ timeout: 5000 })
    const before = Date.now()
    stage.receive(renderRequest({ target: '/defer', method: 'HEAD', version: 'HTTP/1.0', connectionId: 7 }))
    await stage.settled()
    expect(stage.publisher.replies).toEqual([])
    expect(stage.epoch.connections.size).toBe(1)
    const token = parseToken(deferrals[0]?.token)
    expect(token).toMatchObject({ kind: 'request', recvSpec: 'ipc://recv', id: 7, method: 'HEAD', http10: true })
    expect(token.flowControl).toBe(false)
    expect(token.deadline).toBeGreaterThanOrEqual(before + 5000)
    expect(token.deadline).toBeLessThanOrEqual(Date.now() + 5000)
  })

  it('is known though middleware has wrapped its response', async () => {
    set(
      {},
      (response) =>
        new Response(response.body, { status: response.status, headers: [...response.headers, ['x-by', 'me']] }),
    )
    stage.receive(deferred)
    await stage.settled()
    expect(stage.publisher.replies).toEqual([])
  })

  it.each([
    ['another status', () => new Response(null, { status: 403 })],
    ['a body', () => new Response('no', { status: 202 })],
  ])('is answered when what replaces its response has its header fields, but %s', async (_what, replace) => {
    const replaced = replace()
    set({}, ({ headers }) => {
      for (const [name, value] of headers) replaced.headers.set(name, value)
      return replaced
    })
    stage.receive(deferred)
    await stage.settled()
    expect(stage.publisher.response(1).statusLine).toContain(String(replaced.status))
    expect(stage.publisher.received(1)).not.toContain('x-mongrel2')
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('is answered all the same when its handler returns something else, and then its connection is closed', async () => {
    set({}, () => new Response('after all'))
    stage.receive(deferred)
    await stage.settled()
    expect(stage.publisher.response(1)).toMatchObject({ statusLine: 'HTTP/1.1 200 OK', rest: 'after all' })
    expect(stage.publisher.received(1)).toContain('connection: close')
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('gets a 500 when its handler throws after it has deferred', async () => {
    set({}, () => {
      throw new Error('the queue is full')
    })
    stage.receive(deferred)
    await stage.settled()
    expect(stage.publisher.response(1).statusLine).toBe('HTTP/1.1 500 Internal Server Error')
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('gets a 504 and its connection is closed when no answer comes in time, and its signal is aborted', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    set({ timeout: 5000 })
    stage.receive(deferred)
    await until(() => deferrals.length === 1)
    await turns(3)
    vi.advanceTimersByTime(4999)
    await turns(2)
    expect(stage.publisher.replies).toEqual([])
    vi.advanceTimersByTime(1)
    await turns(2)
    expect(stage.publisher.response(1).statusLine).toBe('HTTP/1.1 504 Gateway Timeout')
    expect(stage.publisher.closed(1)).toBe(true)
    expect(stage.epoch.connections.size).toBe(0)
    expect(requests[0]?.signal.reason).toMatchObject({ name: 'TimeoutError' })
    expect(stage.log.warnings).toEqual(['mongrel2-fetch: no deferred answer came within 5000 ms: answered with 504'])
  })

  it('is forgotten when its client leaves, nothing is said, and its signal is aborted', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    set({ timeout: 5000 })
    stage.receive(deferred)
    await until(() => deferrals.length === 1)
    await turns(3)
    stage.receive(renderDisconnect(1))
    expect(stage.epoch.connections.size).toBe(0)
    expect(requests[0]?.signal.reason).toMatchObject({ name: 'AbortError' })
    vi.advanceTimersByTime(10_000)
    await turns(2)
    expect(stage.publisher.replies).toEqual([])
  })

  it('is kept alive, and asked for more and more rarely, since others end its connection without a word', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
    set({ timeout: 1_000_000, keepAliveInterval: 100_000 })
    stage.receive(deferred)
    await until(() => deferrals.length === 1)
    await turns(3)
    const asked: number[] = []
    for (let second = 1; second <= 120; second++) {
      const before = stage.publisher.replies.length
      vi.advanceTimersByTime(1000)
      if (stage.publisher.replies.length > before) asked.push(second)
    }
    expect(stage.publisher.replies.every(({ targets }) => targets === 'X 1')).toBe(true)
    expect(asked).toContain(100)
    expect(asked.length).toBeLessThan(10)
    expect(asked[0]).toBeLessThanOrEqual(2)
  })

  it('does not hold up a close, which leaves it to others: its signal is not aborted', async () => {
    set({ timeout: 60_000 })
    stage.receive(deferred)
    await until(() => deferrals.length === 1)
    await turns(3)
    await stage.epoch.closing.inputDrained()
    await stage.settled()
    stage.epoch.closing.cutBusy()
    stage.epoch.lost()
    expect(stage.publisher.replies).toEqual([])
    expect(requests[0]?.signal.aborted).toBe(false)
  })

  it('that is a handshake can be answered from elsewhere, too', async () => {
    set()
    stage.receive(renderHandshake({ target: '/defer' }))
    await stage.settled()
    expect(stage.publisher.replies).toEqual([])
    expect(parseToken(deferrals[0]?.token).method).toBe('GET')
  })
})

describe('deferring', () => {
  it('waits for the answers before, so that others cannot be quicker', async () => {
    set()
    stage.receive(renderRequest({ target: '/slow' }), deferred)
    await gate.arrival('/slow')
    await turns(5)
    expect(deferrals).toEqual([])
    gate.open('/slow')
    await until(() => deferrals.length === 1)
    expect(stage.publisher.response(1).rest).toBe('/slow')
    await turns(3)
    expect(stage.publisher.closed(1)).toBe(false)
  })

  it('waits until Mongrel2 has written them, where it tells', async () => {
    set({ flowControl: true })
    stage.receive(renderRequest({ target: '/slow' }), deferred)
    await gate.arrival('/slow')
    gate.open('/slow')
    await until(() => stage.publisher.replies.length === 1)
    await new Promise((resolve) => setTimeout(resolve, 60))
    expect(deferrals).toEqual([])
    stage.receive(renderCredits(1, stage.publisher.payloadsFor(1)[0]?.length ?? 0))
    await until(() => deferrals.length === 1)
    expect(parseToken(deferrals[0]?.token).flowControl).toBe(true)
  })

  it('leaves what is pipelined behind without an answer: those requests are aborted, later ones are not looked at', async () => {
    set()
    stage.receive(renderRequest({ target: '/defer-late' }), renderRequest({ target: '/slow-behind' }))
    await gate.arrival('/slow-behind')
    gate.open('/defer-late')
    await until(() => deferrals.length === 1)
    stage.receive(renderRequest({ target: '/later' }))
    await until(() => requests[1]?.signal.aborted === true)
    gate.open('/slow-behind')
    await turns(5)
    expect(requests).toHaveLength(2)
    expect(stage.publisher.replies).toEqual([])
    expect(stage.application.counters.rejected).toBe(1)
  })

  it('rejects when the client leaves before it is its turn', async () => {
    let failure: unknown
    stage = setStage(async (request, env) => {
      if (new URL(request.url).pathname === '/slow') await gate.pass('/slow')
      else
        await env.mongrel2.defer().catch((error: unknown) => {
          failure = error
        })
      return new Response()
    })
    stage.receive(renderRequest({ target: '/slow' }), deferred)
    await gate.arrival('/slow')
    await turns()
    stage.receive(renderDisconnect(1))
    await until(() => failure !== undefined)
    expect(failure).toMatchObject({ name: 'AbortError' })
  })

  it('is refused a second time, after the answer, and while the body is under way', async () => {
    const failures: unknown[] = []
    const keep = (error: unknown) => failures.push(error)
    stage = setStage(async (request, env) => {
      if (request.method === 'POST') await env.mongrel2.defer().catch(keep)
      else {
        await env.mongrel2.defer()
        await env.mongrel2.defer().catch(keep)
        setImmediate(() => env.mongrel2.defer().catch(keep))
      }
      return new Response('answer')
    })
    stage.receive(renderRequest({ connectionId: 1 }))
    stage.receive(
      renderRequest({ connectionId: 2, method: 'POST', headers: { UPLOAD_STREAM: '0', 'content-length': '5' } }),
    )
    await until(() => failures.length === 3)
    expect(failures).toEqual(Array(3).fill(expect.objectContaining({ code: 'not_deferrable' })))
    stage.receive(renderPart(2, 0, 'hello', true))
  })

  it.each([{ timeout: 0 }, { timeout: 1.5 }, { timeout: '5' }, { timeuot: 5 }, 5])(
    'refuses the options %o',
    async (options) => {
      let failure: unknown
      stage = setStage(async (_, env) => {
        await env.mongrel2.defer(options as DeferOptions).catch((error: unknown) => {
          failure = error
        })
        return new Response()
      })
      stage.receive(deferred)
      await until(() => failure !== undefined)
      expect(failure).toMatchObject({ code: 'invalid_option' })
    },
  )
})
