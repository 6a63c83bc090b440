import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkOptions, type Mongrel2Handler, type Mongrel2Options } from '../../../src/exchange/options.ts'
import { serveMongrel2 } from '../../../src/index.ts'
import { controlPortOf } from '../../../src/link/control-port.ts'
import { CLOSE } from '../../../src/options/close.ts'
import { Mongrel2Error } from '../../../src/runtime/errors.ts'

const handler = () => new Response()
const ZEROMQ = 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998'

/** Checks options that their types may forbid: JavaScript gives anything. */
function check(options: object, fetch: unknown = handler) {
  return checkOptions(fetch as Mongrel2Handler, { zeromq: ZEROMQ, ...options } as Mongrel2Options)
}

function refusal(act: () => unknown): Mongrel2Error {
  try {
    act()
  } catch (error) {
    if (error instanceof Mongrel2Error) return error
    throw error
  }
  throw new Error('expected a refusal')
}

describe('defaults', () => {
  it('are what the options say', () => {
    const { identity, ...settings } = check({})
    expect(settings).toEqual({
      fetch: handler,
      endpoints: [
        {
          sendSpec: 'tcp://127.0.0.1:9999',
          recvSpec: 'tcp://127.0.0.1:9998',
          link: 'zmtp',
          uploads: { chroot: process.cwd(), tempStore: 'tmp/mongrel2.upload.XXXXXX', keep: false },
          flowControl: false,
          maxMessageSize: 16 * 1024 * 1024,
          controlPort: undefined,
          findControlPort: true,
        },
      ],
      shared: false,
      maxInFlight: 1024,
      maxQueued: 1024,
      maxPipelined: 16,
      maxBufferedBytes: 8 * 1024 * 1024,
      minClientRate: 16 * 1024,
      maxWaitingBytes: 256 * 1024 * 1024,
      keepAliveInterval: 45_000,
      handlerTargets: 128,
      uploadWindow: 1024 * 1024,
      host: 'localhost',
      trustProxy: false,
      bodyTimeout: 60_000,
      requestTimeout: 0,
      maxBodySize: Number.MAX_SAFE_INTEGER,
      onError: undefined,
      onUploadStart: undefined,
      metrics: false,
      record: undefined,
      recordEvery: 0,
      recordOmit: [],
      accessLog: undefined,
      accessLogFormat: 'combined',
      overrideGlobalObjects: false,
      logger: { warn: expect.any(Function), error: expect.any(Function) },
      signal: undefined,
    })
  })

  it.each([{}, console, { warn: () => {} }])('do not stand for a logger that was given', (logger) => {
    const levels = ['debug', 'info', 'warn', 'error'].filter((level) => level in logger)
    expect(Object.keys(check({ logger }).logger)).toEqual(levels)
  })

  it('include an identity that is a new UUID of version 4 each time', () => {
    const first = check({}).identity
    expect(first).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/)
    expect(check({}).identity).not.toBe(first)
  })

  it('stand for options that are undefined', () => {
    const undefinedOptions = Object.fromEntries(
      ['chroot', 'uploads', 'flowControl', 'maxInFlight', 'maxQueued', 'host', 'trustProxy', 'requestTimeout']
        .concat('maxPipelined', 'maxBufferedBytes', 'minClientRate', 'keepAliveInterval', 'uploadWindow')
        .concat(
          'bodyTimeout',
          'maxMessageSize',
          'maxBodySize',
          'onError',
          'onUploadStart',
          'logger',
          'signal',
          'link',
          'shared',
          'handlerTargets',
        )
        .concat('controlPort', 'maxWaitingBytes')
        .map((name) => [name, undefined]),
    )
    const { identity: _one, ...given } = check(undefinedOptions)
    const { identity: _other, ...none } = check({})
    expect(given).toEqual(none)
  })
})

describe('the handler', () => {
  it('may be an object with fetch, which is called as its method', async () => {
    const app = {
      name: 'an app',
      fetch() {
        return new Response(this.name)
      },
    }
    const { fetch } = check({}, app)
    const response = await fetch(new Request('http://h/'), { mongrel2: {} } as never, {} as never)
    expect(await response.text()).toBe('an app')
  })

  it('is found on an object when it is called, so that it can be replaced', async () => {
    const app = { fetch: () => new Response('old') }
    const { fetch } = check({}, app)
    app.fetch = () => new Response('new')
    expect(await (await fetch(new Request('http://h/'), {} as never, {} as never)).text()).toBe('new')
  })

  it.each([
    [undefined, 'undefined'],
    [null, 'null'],
    ['app', '"app"'],
    [{}, 'an object ()'],
    [{ fetch: 5, other: 1 }, 'an object (fetch, other)'],
  ])('is refused as %j', (wrong, got) => {
    expect(refusal(() => checkOptions(wrong as unknown as Mongrel2Handler, { zeromq: ZEROMQ })).message).toBe(
      `the handler: expected a function (request, env, ctx) => Response, or an object with such a fetch, got ${got}`,
    )
  })
})

describe('a right option', () => {
  it.each<[name: string, value: unknown]>([
    ['identity', 'F400BF85-4538-4f7a-8908-67e313d515c2'],
    ['maxInFlight', 1],
    ['maxInFlight', Number.MAX_SAFE_INTEGER],
    ['maxQueued', 0],
    ['maxPipelined', 1],
    ['maxBufferedBytes', 64 * 1024],
    ['maxBufferedBytes', 1024 * 1024 * 1024],
    ['minClientRate', 1],
    ['maxWaitingBytes', 1],
    ['keepAliveInterval', 1],
    ['uploadWindow', 1024],
    ['host', 'example.org'],
    ['host', 'example.org:8080'],
    ['host', '[::1]:80'],
    ['trustProxy', true],
    ['trustProxy', false],
    ['trustProxy', 0],
    ['trustProxy', 2],
    ['requestTimeout', 0],
    ['requestTimeout', 2_147_483_647],
    ['bodyTimeout', 0],
    ['bodyTimeout', 1000],
    ['maxBodySize', 0],
    ['maxBodySize', 1_000_000],
    ['onError', () => undefined],
    ['onUploadStart', () => undefined],
    ['overrideGlobalObjects', true],
    ['signal', AbortSignal.abort()],
  ])('%s is taken as %s', (name, value) => {
    expect(check({ [name]: value })[name as keyof ReturnType<typeof check>]).toBe(value)
  })

  it('chroot is taken relative to the working directory', () => {
    expect(check({ chroot: 'deep/down' }).endpoints[0]?.uploads.chroot).toBe(resolve('deep/down'))
    expect(check({ chroot: '/srv/m2' }).endpoints[0]?.uploads.chroot).toBe('/srv/m2')
  })

  it.each(['XXXXXX', 'uploads/XXXXXX', '/uploads/a.XXXXXX', 'up..loads/XXXXXX'])(
    'uploads.tempStore is taken as %s',
    (tempStore) => {
      expect(check({ uploads: { tempStore, keep: true } }).endpoints[0]?.uploads).toMatchObject({
        tempStore,
        keep: true,
      })
    },
  )

  it('of one endpoint goes over the one of all', () => {
    const { endpoints } = check({
      zeromq: [
        { sendSpec: 'ipc://a', recvSpec: 'ipc://b', chroot: '/one', uploads: { keep: false }, flowControl: false },
        { sendSpec: 'ipc://c', recvSpec: 'ipc://d', uploads: { tempStore: 'other/XXXXXX' } },
        'ipc://e,ipc://f',
      ],
      chroot: '/all',
      uploads: { tempStore: 'all/XXXXXX', keep: true },
      flowControl: true,
    })
    expect(endpoints.map(({ uploads, flowControl }) => ({ ...uploads, flowControl }))).toEqual([
      { chroot: '/one', tempStore: 'all/XXXXXX', keep: false, flowControl: false },
      { chroot: '/all', tempStore: 'other/XXXXXX', keep: true, flowControl: true },
      { chroot: '/all', tempStore: 'all/XXXXXX', keep: true, flowControl: true },
    ])
  })
})

describe('the link', () => {
  const linksOf = (options: object) => check(options).endpoints.map(({ link }) => link)
  const abstract = 'ipc://@send,ipc://recv'

  it('is plain ZMTP where that can be, libzmq where it is said or cannot', () => {
    expect(linksOf({ zeromq: [ZEROMQ, 'ipc://a,ipc://b', abstract, 'ipc://c,ipc://@d'] })).toEqual([
      'zmtp',
      'zmtp',
      'zeromq',
      'zeromq',
    ])
    expect(linksOf({ link: 'auto' })).toEqual(['zmtp'])
    expect(linksOf({ link: 'zmtp' })).toEqual(['zmtp'])
    expect(linksOf({ link: 'zeromq', zeromq: [ZEROMQ, abstract] })).toEqual(['zeromq', 'zeromq'])
  })

  it('of one endpoint goes over the one of all', () => {
    const endpoint = { sendSpec: 'ipc://a', recvSpec: 'ipc://b' }
    expect(linksOf({ link: 'zeromq', zeromq: [{ ...endpoint, link: 'zmtp' }, 'ipc://c,ipc://d'] })).toEqual([
      'zmtp',
      'zeromq',
    ])
  })

  it('is refused as plain ZMTP where that cannot be', () => {
    expect(refusal(() => check({ link: 'zmtp', zeromq: abstract })).message).toBe(
      "link: expected 'auto' or 'zeromq' for ipc://@send, got \"zmtp\"",
    )
  })
})

const UUID = 'a UUID'
const COUNT = 'an integer from 1'
const SPEC = 'tcp://HOST:PORT or ipc://PATH'
const ENDPOINT = "'SEND_SPEC,RECV_SPEC[,CONTROL_PORT]' or { sendSpec, recvSpec }"
const BUFFERED = 'an integer from 65536 to 1073741824'
const TEMP_STORE = "Mongrel2's upload.temp_store, a path that ends in XXXXXX and has no '..'"
const HOST = 'a host, with a port perhaps, such as example.org:8080'
const METHODS = 'an object with the methods debug, info, warn and error'

describe('a wrong option is named, with what was expected and what came', () => {
  it.each<[name: string, value: unknown, expected: string, got: string]>([
    ['identity', 'me', UUID, '"me"'],
    ['identity', '', UUID, '""'],
    ['identity', 5, UUID, '5'],
    ['identity', null, UUID, 'null'],
    ['chroot', '', 'a path', '""'],
    ['chroot', 5, 'a path', '5'],
    ['uploads', 'tmp', '{ tempStore, keep }', '"tmp"'],
    ['uploads', null, '{ tempStore, keep }', 'null'],
    ['link', 'tcp', "'auto', 'zmtp' or 'zeromq'", '"tcp"'],
    ['link', true, "'auto', 'zmtp' or 'zeromq'", 'true'],
    ['shared', 1, 'true or false', '1'],
    ['flowControl', 1, 'true or false', '1'],
    ['flowControl', 'yes', 'true or false', '"yes"'],
    ['maxInFlight', 0, COUNT, '0'],
    ['maxInFlight', -1, COUNT, '-1'],
    ['maxInFlight', 1.5, COUNT, '1.5'],
    ['maxInFlight', '10', COUNT, '"10"'],
    ['maxInFlight', Number.NaN, COUNT, 'NaN'],
    ['maxInFlight', Number.POSITIVE_INFINITY, COUNT, 'Infinity'],
    ['maxInFlight', null, COUNT, 'null'],
    ['maxQueued', -1, 'an integer from 0', '-1'],
    ['maxPipelined', 0, COUNT, '0'],
    ['maxBufferedBytes', 65_535, BUFFERED, '65535'],
    ['maxBufferedBytes', 1_073_741_825, BUFFERED, '1073741825'],
    ['minClientRate', 0, COUNT, '0'],
    ['maxWaitingBytes', 0, COUNT, '0'],
    ['controlPort', 'ipc://control', 'true or false', '"ipc://control"'],
    ['keepAliveInterval', 0, 'an integer from 1 to 2147483647', '0'],
    ['handlerTargets', 0, 'an integer from 1 to 65535', '0'],
    ['maxMessageSize', 0, 'an integer from 1 to 999999999', '0'],
    ['maxMessageSize', 1_000_000_000, 'an integer from 1 to 999999999', '1000000000'],
    ['uploadWindow', 1023, 'an integer from 1024 to 1073741824', '1023'],
    ['host', '', HOST, '""'],
    ['host', 'http://example.org', HOST, '"http://example.org"'],
    ['host', 'user@example.org', HOST, '"user@example.org"'],
    ['host', 'a b', HOST, '"a b"'],
    ['host', 'example.org:99999', HOST, '"example.org:99999"'],
    ['host', 5, HOST, '5'],
    ['trustProxy', -1, 'true, false or a number of proxies', '-1'],
    ['trustProxy', 0.5, 'true, false or a number of proxies', '0.5'],
    ['trustProxy', 'true', 'true, false or a number of proxies', '"true"'],
    ['requestTimeout', -1, 'an integer from 0 to 2147483647', '-1'],
    ['requestTimeout', 2_147_483_648, 'an integer from 0 to 2147483647', '2147483648'],
    ['requestTimeout', '5s', 'an integer from 0 to 2147483647', '"5s"'],
    ['bodyTimeout', -1, 'an integer from 0 to 2147483647', '-1'],
    ['maxBodySize', -1, 'an integer from 0', '-1'],
    ['maxBodySize', '1mb', 'an integer from 0', '"1mb"'],
    ['onError', 'log', 'a function', '"log"'],
    ['onUploadStart', {}, 'a function', 'an object ()'],
    ['overrideGlobalObjects', 1, 'true or false', '1'],
    ['logger', 'console', METHODS, '"console"'],
    ['logger', null, METHODS, 'null'],
    ['signal', new AbortController(), 'an AbortSignal', 'an object ()'],
    ['zeromq', undefined, ENDPOINT, 'undefined'],
    ['zeromq', 5, ENDPOINT, '5'],
    ['zeromq', null, ENDPOINT, 'null'],
    ['zeromq', '', ENDPOINT, '""'],
    ['zeromq', 'tcp://127.0.0.1:9999', ENDPOINT, '"tcp://127.0.0.1:9999"'],
    ['zeromq', 'ipc://a,ipc://b,ipc://c,ipc://d', ENDPOINT, '"ipc://a,ipc://b,ipc://c,ipc://d"'],
  ])('%s as %s', (name, value, expected, got) => {
    const error = refusal(() => check({ [name]: value }))
    expect(error.code).toBe('invalid_option')
    expect(error.message).toBe(`${name}: expected ${expected}, got ${got}`)
  })

  it.each<[what: string, options: object, message: RegExp]>([
    ['no endpoint', { zeromq: [] }, /^zeromq: expected at least one endpoint, got \S/],
    [
      'a list as an endpoint',
      { zeromq: [['ipc://a', 'ipc://b']] },
      /^zeromq: expected 'SEND_SPEC,RECV_SPEC\[,CONTROL_PORT\]' or .*, got \S/,
    ],
    ['a list as uploads', { uploads: [] }, /^uploads: expected \{ tempStore, keep \}, got \S/],
  ])('%s', (_what, options, message) => {
    expect(refusal(() => check(options)).message).toMatch(message)
  })

  it.each<[option: string, options: object, message: string]>([
    ['uploads.keep', { uploads: { keep: 1 } }, 'uploads.keep: expected true or false, got 1'],
    ['uploads.tempStore', { uploads: { tempStore: 5 } }, `uploads.tempStore: expected ${TEMP_STORE}, got 5`],
    [
      'a tempStore without XXXXXX',
      { uploads: { tempStore: 'tmp/a' } },
      `uploads.tempStore: expected ${TEMP_STORE}, got "tmp/a"`,
    ],
    [
      'a tempStore that goes up',
      { uploads: { tempStore: '../tmp/XXXXXX' } },
      `uploads.tempStore: expected ${TEMP_STORE}, got "../tmp/XXXXXX"`,
    ],
    ['a method of the logger', { logger: { warn: 'loudly' } }, 'logger.warn: expected a function, got "loudly"'],
    [
      'a chroot of an endpoint',
      { zeromq: { sendSpec: 'ipc://a', recvSpec: 'ipc://b', chroot: 5 } },
      'chroot: expected a path, got 5',
    ],
    [
      'a Handler twice',
      { zeromq: ['ipc://a,ipc://b', 'ipc://a,ipc://c'] },
      'zeromq: expected each Handler once, got ipc://a twice',
    ],
  ])('%s', (_option, options, message) => {
    expect(refusal(() => check(options)).message).toBe(message)
  })

  it.each([undefined, null, 5, 'zeromq'])('options as %s', (options) => {
    expect(refusal(() => checkOptions(handler, options as unknown as Mongrel2Options)).message).toMatch(
      /^options: expected an object with at least zeromq, got/,
    )
  })

  it('an option that does not exist, with those that do', () => {
    const error = refusal(() => check({ maxInFlght: 5 }))
    expect(error.code).toBe('invalid_option')
    expect(error.message).toMatch(
      /^there is no option maxInFlght; did you mean maxInFlight\? There are zeromq, .*maxInFlight, /,
    )
  })

  it.each<[where: string, options: object]>([
    ['an endpoint', { zeromq: { sendSpec: 'ipc://a', recvSpec: 'ipc://b', chrot: '/srv' } }],
    ['uploads', { uploads: { temp_store: 'tmp/XXXXXX' } }],
  ])('an option that does not exist in %s', (_where, options) => {
    expect(refusal(() => check(options)).message).toMatch(/chrot|temp_store/)
  })

  it('by serveMongrel2 at the call', () => {
    expect(refusal(() => serveMongrel2(handler, { zeromq: 'udp://a:1,udp://b:2' })).message).toBe(
      `sendSpec: expected ${SPEC}, got "udp://a:1"`,
    )
  })
})

describe('an endpoint', () => {
  it.each([
    'tcp://127.0.0.1:1',
    'tcp://localhost:65535',
    'tcp://a-host.example_1.org:9999',
    'tcp://[::1]:9999',
    'tcp://[fe80::1%eth0]:9999',
    'ipc:///srv/m2/run/send',
    'ipc://run/send',
    `ipc://${'a'.repeat(107)}`,
  ])('is taken at %s', (spec) => {
    const [endpoint] = check({ zeromq: { sendSpec: spec, recvSpec: 'ipc://other' } }).endpoints
    expect(endpoint).toMatchObject({ sendSpec: spec, recvSpec: 'ipc://other' })
    expect(check({ zeromq: ` ipc://other , ${spec} ` }).endpoints[0]).toMatchObject({
      sendSpec: 'ipc://other',
      recvSpec: spec,
    })
  })

  it('may have a control port, by either form', () => {
    const specs = { sendSpec: 'ipc://a', recvSpec: 'ipc://b' }
    expect(check({ zeromq: 'ipc://a,ipc://b' }).endpoints[0]).toMatchObject({ ...specs, controlPort: undefined })
    for (const zeromq of ['ipc://a,ipc://b, tcp://127.0.0.1:7', { ...specs, controlPort: 'tcp://127.0.0.1:7' }]) {
      expect(check({ zeromq }).endpoints[0]).toMatchObject({ ...specs, controlPort: 'tcp://127.0.0.1:7' })
    }
    expect(refusal(() => check({ zeromq: 'ipc://a,ipc://b,7' })).message).toBe(`controlPort: expected ${SPEC}, got "7"`)
  })

  it.each([
    [{}, {}, 'ipc:///srv/m2/run/control', false],
    [{ controlPort: false }, {}, undefined, false],
    [{}, { controlPort: false }, undefined, false],
    [{ controlPort: false }, { controlPort: true }, 'ipc:///srv/m2/run/control', false],
    [{ controlPort: false }, { controlPort: 'ipc://other' }, 'ipc://other', true],
    [{ chroot: `/${'a'.repeat(96)}` }, {}, undefined, false],
  ])('with %j, and %j of its own, has the control port %s, named: %s', (options, own, spec, named) => {
    const zeromq = { sendSpec: 'ipc://a', recvSpec: 'ipc://b', ...own }
    const [endpoint] = check({ chroot: '/srv/m2', ...options, zeromq }).endpoints
    expect(endpoint && controlPortOf(endpoint)).toEqual(spec && { spec, named })
  })

  it.each([
    '',
    'localhost:9999',
    'http://localhost:9999',
    'tcp://localhost',
    'tcp://localhost:',
    'tcp://localhost:0',
    'tcp://localhost:65536',
    'tcp://localhost:123456',
    'tcp://:9999',
    'tcp://*:9999',
    'tcp://a b:9999',
    'tcp://localhost:9999/path',
    'TCP://localhost:9999',
    'ipc://',
    'inproc://',
    'ipc:/run/send',
  ])('is refused at %j', (spec) => {
    expect(refusal(() => check({ zeromq: { sendSpec: 'ipc://other', recvSpec: spec } })).message).toBe(
      `recvSpec: expected ${SPEC}, got ${JSON.stringify(spec)}`,
    )
    expect(refusal(() => check({ zeromq: { sendSpec: spec, recvSpec: 'ipc://other' } })).message).toBe(
      `sendSpec: expected ${SPEC}, got ${JSON.stringify(spec)}`,
    )
  })

  it('may be a gateway in this process, whose replies come by a socket all the same', () => {
    expect(check({ zeromq: 'inproc://x,ipc://y' }).endpoints[0]).toMatchObject({ sendSpec: 'inproc://x' })
    expect(refusal(() => check({ zeromq: 'ipc://x,inproc://y' })).message).toBe(
      `recvSpec: expected ${SPEC}, got "inproc://y"`,
    )
  })

  it('is refused at an ipc path that no socket can have', () => {
    const sendSpec = `ipc://${'\xe9'.repeat(54)}`
    expect(refusal(() => check({ zeromq: { sendSpec, recvSpec: 'ipc://b' } })).message).toBe(
      `sendSpec: expected an ipc path of at most 107 bytes, got "${sendSpec}"`,
    )
  })

  it.each([undefined, 5, {}])('is refused with %j as its sendSpec', (sendSpec) => {
    expect(refusal(() => check({ zeromq: { sendSpec, recvSpec: 'ipc://b' } })).message).toMatch(
      /^sendSpec: expected tcp:\/\/HOST:PORT or ipc:\/\/PATH, got/,
    )
  })

  it('may be one of several', () => {
    const { endpoints } = check({ zeromq: ['ipc://a,ipc://b', { sendSpec: 'ipc://c', recvSpec: 'ipc://b' }] })
    expect(endpoints.map(({ sendSpec, recvSpec }) => [sendSpec, recvSpec])).toEqual([
      ['ipc://a', 'ipc://b'],
      ['ipc://c', 'ipc://b'],
    ])
  })
})

describe('the timeout of close', () => {
  const checkTimeout = (timeout: unknown) => CLOSE.timeout.check('timeout', timeout)

  it('is 10 seconds unless given', () => {
    expect([checkTimeout(undefined), checkTimeout(0), checkTimeout(500)]).toEqual([10_000, 0, 500])
  })

  it.each([-1, 1.5, '5', null, Number.NaN])('is refused as %s', (timeout) => {
    expect(refusal(() => checkTimeout(timeout)).message).toMatch(
      /^timeout: expected an integer from 0 to 2147483647, got/,
    )
  })
})
