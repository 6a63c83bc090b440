import { describe, expect, it } from 'vitest'
import { createGateway } from '../../../src/gateway/index.ts'
import { checkFrontOptions, type FrontOptions, type GatewayOptions } from '../../../src/gateway/options.ts'

const route = { path: '/', sendSpec: 'ipc://a', recvSpec: 'ipc://b' }

describe('The options of createFront', () => {
  it('have defaults', () => {
    expect(checkFrontOptions({ port: 0, routes: [route] })).toMatchObject({
      port: 0,
      host: '127.0.0.1',
      uploads: 'stream',
      flowControl: false,
      noClobberXff: false,
      bufferSize: 16_384,
      contentLength: 20_480,
      maxMessageSize: 16_777_216,
      headersTimeout: 60_000,
      bodyTimeout: 60_000,
      sendTimeout: 120_000,
      keepAliveTimeout: 75_000,
      maxConnections: 10_000,
      routes: [{ ...route, protocol: 'json', recvIdent: '', sendIdent: expect.stringMatching(/^[0-9a-f-]{36}$/) }],
    })
  })

  it.each<[options: unknown, message: string]>([
    [undefined, 'options: expected an object with at least port and routes, got undefined'],
    [{ routes: [route] }, 'port: expected an integer from 0 to 65535, got undefined'],
    [{ port: -1, routes: [route] }, 'port: expected an integer from 0 to 65535, got -1'],
    [{ port: 0 }, 'routes: expected a list of { path, sendSpec, recvSpec }, got undefined'],
    [{ port: 0, routes: [] }, 'routes: expected a list of { path, sendSpec, recvSpec }, got a list of 0'],
    [{ port: 0, routes: [1] }, 'routes: expected a list of { path, sendSpec, recvSpec }, got 1'],
    [{ port: 0, routes: [{ ...route, path: undefined }] }, 'path: expected a path that begins with /, got undefined'],
    [{ port: 0, routes: [{ ...route, path: '@a' }] }, 'path: expected a path that begins with /, got "@a"'],
    [
      { port: 0, routes: [{ ...route, sendSpec: 'udp://x' }] },
      'sendSpec: expected tcp://HOST:PORT or ipc://PATH, got "udp://x"',
    ],
    [{ port: 0, routes: [{ ...route, protocol: 'xml' }] }, `protocol: expected 'json' or 'tnetstring', got "xml"`],
    [
      { port: 0, routes: [{ ...route, sendIdent: 'a_b' }] },
      'sendIdent: expected a text like /^[A-Za-z0-9-]+$/, got "a_b"',
    ],
    [{ port: 0, routes: [route], uploads: 'file' }, `uploads: expected 'stream' or 'none', got "file"`],
    [{ port: 0, routes: [route], flowControl: 1 }, 'flowControl: expected true or false, got 1'],
    [
      { port: 0, routes: [route], contentLength: -1 },
      'contentLength: expected an integer from 0 to 1073741824, got -1',
    ],
    [
      { port: 0, routes: [route], ports: 1 },
      'there is no option ports; did you mean port? There are port, host, tlsCert, tlsKey, routes, uploads, flowControl, noClobberXff, bufferSize, contentLength, maxMessageSize, headersTimeout, bodyTimeout, sendTimeout, keepAliveTimeout, maxConnections, logger',
    ],
  ])('are refused: %j', (options, message) => {
    expect(() => checkFrontOptions(options as FrontOptions)).toThrow(message)
  })
})

describe('The options of createGateway', () => {
  it.each<[options: Omit<GatewayOptions, 'routes'>, message: string]>([
    [{}, 'options: expected an address in http, uwsgi, fastcgi, scgi, got an object'],
    [{ scgi: ':1', tlsCert: 'a', tlsKey: 'b' }, 'http: expected an address for tlsCert, got undefined'],
    [{ http: ':1', tlsCert: 'a' }, 'tlsCert and tlsKey: expected both or none'],
    [{ http: ':1', tlsKey: 'a' }, 'tlsCert and tlsKey: expected both or none'],
  ])('are refused: %j', async (options, message) => {
    await expect(createGateway({ ...options, routes: [route] })).rejects.toThrow(message)
  })
})
