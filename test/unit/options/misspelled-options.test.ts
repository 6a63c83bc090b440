import { describe, expect, it } from 'vitest'
import { serveNode } from '../../../adapters/node/index.ts'
import { Mongrel2Dispatcher } from '../../../adapters/undici/index.ts'
import { checkWorkersOptions } from '../../../src/cluster/options.ts'
import { checkDeferOptions } from '../../../src/exchange/deferral.ts'
import { createFront } from '../../../src/gateway/index.ts'
import {
  createReplier,
  joinCluster,
  Mongrel2Error,
  serveMongrel2,
  serveWithWorkers,
  Topic,
} from '../../../src/index.ts'
import { checkUpgradeOptions } from '../../../src/websocket/options.ts'
import { loadSettings } from '../../../src/workers/worker/worker-config.ts'

const zeromq = 'ipc:///nowhere/send,ipc:///nowhere/recv'
const handler = () => new Response()
const app = { module: 'file:///app.js' }
const socket = { maxBufferedBytes: 1, maxMessageSize: 1 }
const options = { zeromq, logger: {} }
const request = new Request('http://localhost/')

/** Calls a function with what its types forbid. */
const call = (act: (given: never) => unknown, given: object): unknown => act(given as never)

describe('a misspelled name is refused, with the one that was probably meant, by', () => {
  it.each<[what: string, meant: string, act: (given: never) => unknown, given: object]>([
    ['serveMongrel2', 'maxQueued', (given) => serveMongrel2(handler, given), { zeromq, maxQeued: 1 }],
    ['an endpoint', 'chroot', (given) => serveMongrel2(handler, given), { zeromq: { chrot: '/' } }],
    ['uploads', 'keep', (given) => serveMongrel2(handler, given), { zeromq, uploads: { keeep: true } }],
    ['messages', 'json', (given) => serveMongrel2(handler, given), { zeromq, messages: { jsons: () => {} } }],
    ['createReplier', 'identity', createReplier, { zeromq, identitty: '' }],
    ['serveWithWorkers', 'workers', serveWithWorkers, { app, options, wokers: 2 }],
    ['its app', 'data', checkWorkersOptions, { app: { ...app, dta: 1 }, options }],
    ['its options', 'maxInFlight', checkWorkersOptions, { app, options: { ...options, maxInflight: 1 } }],
    [
      'its cluster',
      'nodes',
      (given) => checkWorkersOptions({ app, options, cluster: given }),
      { listen: 'tcp://127.0.0.1:1', node: [] },
    ],
    ['joinCluster', 'chroot', joinCluster, { main: 'tcp://127.0.0.1:1717', chrot: '/' }],
    ['createFront', 'bufferSize', createFront, { port: 0, routes: [], buferSize: 1 }],
    ['a route of a front', 'sendIdent', createFront, { port: 0, routes: [{ path: '/', sendident: 'x' }] }],
    ['Mongrel2Dispatcher', 'protocol', (given) => new Mongrel2Dispatcher(given), { zeromq, protokol: 'json' }],
    [
      'its endpoint',
      'recvSpec',
      (given) => new Mongrel2Dispatcher(given),
      { zeromq: { sendSpec: 'ipc://a', recvSpc: 'ipc://b' } },
    ],
    ['serveNode', 'host', (given) => serveNode(handler, given), { port: 0, hosts: 'localhost' }],
    ['a topic', 'whenSlow', (given) => new Topic(given), { whenslow: 'drop' }],
    ['an event', 'event', (given) => new Topic().send('', given), { evnt: 'x' }],
    ['stream', 'headers', (given) => new Topic().stream(request, given), { header: {} }],
    ['next', 'timeout', (given) => new Topic().next(request, given), { timeot: 1 }],
    ['defer', 'timeout', checkDeferOptions, { timeot: 1 }],
    ['upgradeWebSocket', 'maxPayload', (given) => checkUpgradeOptions(given, [], socket), { maxPayloads: 1 }],
    [
      'perMessageDeflate',
      'threshold',
      (given) => checkUpgradeOptions(given, [], socket),
      { perMessageDeflate: { treshold: 1 } },
    ],
  ])('%s', async (_what, meant, act, given) => {
    const refused = await Promise.resolve()
      .then(() => call(act, given))
      .catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(Mongrel2Error)
    expect(refused).toMatchObject({
      code: 'invalid_option',
      message: expect.stringContaining(`; did you mean ${meant}?`),
    })
  })

  it('close and broadcast of what serves', async () => {
    const misspelled = { timeot: 1 } as object
    const message = 'there is no option of close timeot; did you mean timeout?'
    await using server = serveMongrel2(handler, options)
    expect(() => server.close(misspelled)).toThrow(message)
    expect(() => server.broadcast([], '', { whenslow: 'drop' } as object)).toThrow('did you mean whenSlow?')
    await using node = joinCluster({ main: 'tcp://127.0.0.1:1', logger: {} })
    expect(() => node.close(misspelled)).toThrow(message)
    await using http = await serveNode(handler, { port: 0 })
    expect(() => http.close(misspelled)).toThrow(message)
    await using workers = serveWithWorkers({ app, workers: 1, options })
    expect(() => workers.close(misspelled)).toThrow(message)
  })

  it('what an app for workers gives', async () => {
    const code = 'export default () => ({ handler: () => new Response(), option: {} })'
    const module = `data:text/javascript,${encodeURIComponent(code)}`
    const config = {
      app: { module },
      options,
      parent: 0,
      identity: '',
      dealSpec: '',
      reportSpec: '',
      threads: 1,
      logLevels: [],
      remote: false,
    }
    await expect(loadSettings(config, {})).rejects.toThrow(
      'there is no property of the loaded app option; did you mean options? There are handler, options',
    )
  })
})

it('serveWithWorkers and joinCluster refuse values of the wrong kind', () => {
  for (const given of [undefined, null, 'app.js', []])
    expect(() => call(serveWithWorkers, given as unknown as object)).toThrow('options: expected an object')
  for (const module of [undefined, 5])
    expect(() => call(serveWithWorkers, { app: { module }, options })).toThrow('app: expected { module, data }')
  expect(() => call(serveWithWorkers, { app, options, execArgv: '--inspect' })).toThrow(
    'execArgv: expected a list of texts, got "--inspect"',
  )
  expect(() => call(serveWithWorkers, { app, options, workers: 0 })).toThrow(
    'workers: expected an integer from 1 to 1024, got 0',
  )
  const main = 'tcp://127.0.0.1:1717'
  expect(() => call(joinCluster, { main, execArgv: [1] })).toThrow('execArgv: expected a list of texts')
  expect(() => call(joinCluster, { main, chroot: 5 })).toThrow('chroot: expected a path, got 5')
  expect(() => call(joinCluster, { main, signal: {} })).toThrow('signal: expected an AbortSignal')
})
