import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { replaceGlobals, restoreGlobals } from '../../../src/platform/globals.ts'
import { plainResponseOf } from '../../../src/platform/light-response.ts'
import { platform } from '../../../src/platform/stand-in.ts'
import { createLightRequest, requestSource } from '../support/request-source.ts'

// A run with LIGHT=1 has them replaced already: not while this file is at it.
if (process.env.LIGHT === '1') restoreGlobals()
const own = { Request, Response, fetch, clone: platform.Request.prototype.clone }

const light = () =>
  createLightRequest(
    requestSource({ method: 'PUT', url: 'http://localhost/path', body: new TextEncoder().encode('body') }),
  )

/** The getter of a prototype, or of what it inherits from. */
function getterOf(prototype: object, name: string): () => unknown {
  const get = Object.getOwnPropertyDescriptor(prototype, name)?.get
  return get ?? getterOf(Object.getPrototypeOf(prototype), name)
}

describe('while the globals are replaced', () => {
  beforeEach(replaceGlobals)
  afterEach(restoreGlobals)

  it('new Response() makes light ones', () => {
    expect(plainResponseOf(new Response('light'))).toBeDefined()
    expect(plainResponseOf(Response.json({}))).toBeDefined()
    expect([Response.name, Response.length]).toEqual([own.Response.name, own.Response.length])
  })

  it('new Request(request) takes a light one, with an init over it', async () => {
    const copy = new Request(light(), { headers: { 'x-b': '2' } })
    expect(copy.method).toBe('PUT')
    expect([...copy.headers]).toContainEqual(['x-b', '2'])
    expect(await copy.text()).toBe('body')
    expect(new Request('http://localhost/', { method: 'POST' }).method).toBe('POST')
    expect(Request.name).toBe('Request')
  })

  it('fetch(request) takes a light one', async () => {
    const server = createServer((request, response) => {
      response.end(`${request.method} ${request.headers['x-a']} `)
      request.resume()
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const url = `http://127.0.0.1:${port}/`
    const request = createLightRequest(requestSource({ method: 'DELETE', url }))
    const response = await fetch(request)
    expect(await response.text()).toBe('DELETE 1 ')
    expect(response instanceof Response).toBe(true)
    server.close()
  })

  it('instanceof holds for theirs and ours, and for subclasses as ever', () => {
    class OwnResponse extends Response {}
    class OwnRequest extends Request {}
    const responses = [new Response(), new platform.Response(), new OwnResponse(), Response.error()]
    expect(responses.map((response) => response instanceof Response)).toEqual([true, true, true, true])
    expect(responses.map((response) => response instanceof OwnResponse)).toEqual([false, false, true, false])
    const requests = [light(), new Request('http://h/'), new platform.Request('http://h/'), new OwnRequest('http://h/')]
    expect(requests.map((request) => request instanceof Request)).toEqual([true, true, true, true])
    expect(requests.map((request) => request instanceof OwnRequest)).toEqual([false, false, false, true])
    for (const other of [{}, null, 'x', new Headers()]) expect(other instanceof Response).toBe(false)
  })

  it.each([
    ['replaced', () => Request, () => Response],
    ['platform’s own', () => platform.Request, () => platform.Response],
  ])('members of the %s classes take light objects and theirs as `this`', async (_which, request, response) => {
    for (const one of [light(), new platform.Request(light().url, { method: 'PUT', body: 'body' })]) {
      const copy = request().prototype.clone.call(one)
      expect([copy.method, await copy.text()]).toEqual(['PUT', 'body'])
      expect(await request().prototype.text.call(one)).toBe('body')
    }
    for (const one of [new Response('body', { status: 201 }), new platform.Response('body', { status: 201 })]) {
      for (const [name, value] of Object.entries({ status: 201, statusText: '', ok: true, bodyUsed: false })) {
        expect(getterOf(response().prototype, name).call(one)).toBe(value)
      }
      expect(getterOf(response().prototype, 'headers').call(one)).toBe(one.headers)
      expect(await response().prototype.clone.call(one).text()).toBe('body')
      expect(await response().prototype.text.call(one)).toBe('body')
    }
  })

  it('a second user changes nothing, and the last one puts them back', () => {
    const replaced = Response
    replaceGlobals()
    expect(Response).toBe(replaced)
    restoreGlobals()
    expect(Response).toBe(replaced)
  })
})

describe('the globals', () => {
  it('are put back as they were', () => {
    const before = Object.getOwnPropertyDescriptor(globalThis, 'Response')
    replaceGlobals()
    expect(Response).not.toBe(own.Response)
    restoreGlobals()
    expect([Request, Response, fetch]).toEqual([own.Request, own.Response, own.fetch])
    expect(Object.getOwnPropertyDescriptor(globalThis, 'Response')).toEqual(before)
    expect(platform.Request.prototype.clone).toBe(own.clone)
  })

  it('that somebody else has replaced meanwhile are left alone', () => {
    replaceGlobals()
    const theirs = class extends Response {}
    const before = Object.getOwnPropertyDescriptor(globalThis, 'Response') ?? {}
    Object.defineProperty(globalThis, 'Response', { ...before, value: theirs })
    restoreGlobals()
    expect([Response, Request]).toEqual([theirs, own.Request])
    Object.defineProperty(globalThis, 'Response', { value: own.Response, configurable: true, writable: true })
  })
})
