import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  type CommandOption,
  flagsOf,
  OPTIONS,
  type OptionKey,
  type OptionSource,
} from '../../../../src/cli/options/command-options.ts'
import { type CommandSettings, settingsOf } from '../../../../src/cli/options/settings.ts'
import { sourceOf } from '../../../../src/cli/options/sources.ts'
import type { Places } from '../../../../src/gateway/options.ts'
// On Node 20 the loader's hooks run in another thread, which has to read our TypeScript.
import '../../../support/register-tsx.mjs'

const UUID = [
  '2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d',
  '1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed',
  '9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d',
]

/** These mean something together only. */
type ClusterKey = 'clusterKey' | 'clusterNodes' | 'clusterZeromq' | 'insecure'
/** These need a database of Mongrel2: test/e2e/cli-mongrel2.test.ts. */
type DatabaseKey = 'mongrel2' | 'handler'
/** Only the file can give these. */
type CodeKey = 'onError' | 'onUploadStart' | 'onRequestEnd' | 'messages'

const parseOption = (option: CommandOption, text: string) => sourceOf(option, text, '').value

/** The path where a protocol is served. */
const placeOf =
  (protocol: keyof Places) =>
  ({ gateway }: CommandSettings) =>
    gateway?.places[protocol].map((at) => 'path' in at && at.path).join(' ')

/** For each option a value from the file, the environment and a flag, and where it ends up. */
const CASES: Record<
  Exclude<
    OptionKey,
    | 'config'
    | 'adminTokenFile'
    | 'watch'
    | 'json'
    | 'logger'
    | 'logLevel'
    | 'logFormat'
    | ClusterKey
    | CodeKey
    | DatabaseKey
  >,
  [string, string, string, (settings: CommandSettings) => unknown]
> = {
  app: ['/a.ts', '/b.ts', '/c.ts', ({ app }) => app],
  export: ['a', 'b', 'c', ({ exportName }) => exportName],
  zeromq: ['ipc://a,ipc://b', 'ipc://c,ipc://d', 'ipc://e,ipc://f', ({ options }) => [options.zeromq].flat()[0]],
  closeTimeout: ['1', '2', '3', ({ closeTimeout }) => closeTimeout],
  port: ['1', '2', '3', ({ port }) => port],
  listen: ['127.0.0.1', '127.0.0.2', '127.0.0.3', ({ listen }) => listen],
  watchFiles: ['a', 'b', 'c', ({ watchFiles }) => watchFiles.globs[0]],
  open: ['true', 'false', 'true', ({ open }) => open],
  tls: ['true', 'false', 'true', ({ tls }) => tls !== undefined],
  tlsCert: ['a', 'b', 'c', ({ gateway }) => gateway?.certificate?.cert],
  tlsKey: ['a', 'b', 'c', ({ gateway }) => gateway?.certificate?.key],
  admin: ['./a', './b', './c', ({ admin }) => admin && 'path' in admin.at && admin.at.path],
  http: ['./a', './b', './c', placeOf('http')],
  uwsgi: ['./a', './b', './c', placeOf('uwsgi')],
  fastcgi: ['./a', './b', './c', placeOf('fastcgi')],
  scgi: ['./a', './b', './c', placeOf('scgi')],
  httpBufferSize: ['1025', '1026', '1027', ({ gateway }) => gateway?.settings.bufferSize],
  httpHeadersTimeout: ['1', '2', '3', ({ gateway }) => gateway?.settings.headersTimeout],
  httpSendTimeout: ['1', '2', '3', ({ gateway }) => gateway?.settings.sendTimeout],
  httpKeepAliveTimeout: ['1', '2', '3', ({ gateway }) => gateway?.settings.keepAliveTimeout],
  httpMaxConnections: ['1', '2', '3', ({ gateway }) => gateway?.settings.maxConnections],
  metrics: ['true', 'false', 'true', ({ options }) => options.metrics],
  accessLog: ['a', 'b', '-', ({ options }) => options.accessLog],
  record: ['a', 'b', 'c', ({ options }) => options.record],
  recordEvery: ['1', '2', '3', ({ options }) => options.recordEvery],
  recordOmit: ['a', 'b', 'c', ({ options }) => options.recordOmit?.[0]],
  accessLogFormat: ['json', '{time}', '{status}', ({ options }) => options.accessLogFormat],
  direct: ['true', 'false', 'true', ({ direct }) => direct],
  touchReload: ['a', 'b', 'c', ({ touchReload }) => touchReload[0]],
  cluster: ['tcp://127.0.0.1:1', 'tcp://127.0.0.1:2', 'tcp://127.0.0.1:3', ({ workers }) => workers?.cluster?.listen],
  workers: ['1', '2', '3', ({ workers }) => workers?.workers],
  threads: ['1', '2', '3', ({ workers }) => workers?.threads],
  workerTimeout: ['101', '102', '103', ({ workers }) => workers?.workerTimeout],
  startTimeout: ['101', '102', '103', ({ workers }) => workers?.startTimeout],
  replaceTimeout: ['1', '2', '3', ({ workers }) => workers?.replaceTimeout],
  maxRequests: ['1', '2', '3', ({ workers }) => workers?.maxRequests],
  maxRequestsJitter: ['1', '2', '3', ({ workers }) => workers?.maxRequestsJitter],
  maxRss: ['1', '2', '3', ({ workers }) => workers?.maxRss],
  execArgv: ['-a', '-b', '-c', ({ workers }) => workers?.execArgv?.[0]],
  link: ['zmtp', 'zeromq', 'auto', ({ options }) => options.link],
  identity: [UUID[0] ?? '', UUID[1] ?? '', UUID[2] ?? '', ({ options }) => options.identity],
  chroot: ['/a', '/b', '/c', ({ options }) => options.chroot],
  'uploads.tempStore': ['aXXXXXX', 'bXXXXXX', 'cXXXXXX', ({ options }) => options.uploads?.tempStore],
  'uploads.keep': ['true', 'false', 'true', ({ options }) => options.uploads?.keep],
  flowControl: ['true', 'false', 'true', ({ options }) => options.flowControl],
  controlPort: ['true', 'false', 'true', ({ options }) => options.controlPort],
  shared: ['true', 'false', 'true', ({ options }) => options.shared],
  maxInFlight: ['1', '2', '3', ({ options }) => options.maxInFlight],
  maxQueued: ['1', '2', '3', ({ options }) => options.maxQueued],
  maxPipelined: ['1', '2', '3', ({ options }) => options.maxPipelined],
  maxBufferedBytes: ['100001', '100002', '100003', ({ options }) => options.maxBufferedBytes],
  minClientRate: ['1', '2', '3', ({ options }) => options.minClientRate],
  maxWaitingBytes: ['1', '2', '3', ({ options }) => options.maxWaitingBytes],
  keepAliveInterval: ['1', '2', '3', ({ options }) => options.keepAliveInterval],
  handlerTargets: ['1', '2', '3', ({ options }) => options.handlerTargets],
  bodyTimeout: ['1', '2', '3', ({ options }) => options.bodyTimeout],
  uploadWindow: ['1024', '1025', '1026', ({ options }) => options.uploadWindow],
  maxMessageSize: ['1', '2', '3', ({ options }) => options.maxMessageSize],
  requestTimeout: ['1', '2', '3', ({ options }) => options.requestTimeout],
  maxBodySize: ['1', '2', '3', ({ options }) => options.maxBodySize],
  host: ['a', 'b', 'c', ({ options }) => options.host],
  trustProxy: ['true', '2', 'false', ({ options }) => options.trustProxy],
  overrideGlobalObjects: ['false', 'true', 'false', ({ options }) => options.overrideGlobalObjects],
}

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'settings-test-'))
})

afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(directory, { recursive: true, force: true })
})

describe('The settings of a command', () => {
  it.each(OPTIONS.filter(({ key }) => key in CASES))(
    'have $key from the file, before it the environment, before it a flag',
    async (option) => {
      const [ofFile, ofEnvironment, ofFlag, settingIn] = CASES[option.key as keyof typeof CASES]
      const [outer = '', inner] = option.key.split('.')
      const value = parseOption(option, ofFile)
      const values = inner === undefined ? { [outer]: value } : { [outer]: { [inner]: value } }
      const http = option.key.startsWith('http') ? { http: ':0' } : {}
      const tls = option.key.startsWith('tls') ? { http: ':0', tlsCert: '-', tlsKey: '-' } : {}
      const workers = ['touchReload', 'maxRequestsJitter'].includes(option.key) ? { maxRequests: 1 } : {}
      const given = { app: 'app.ts', zeromq: 'ipc://a,ipc://b', ...http, ...tls, ...workers, ...values }
      const config = join(directory, 'config.json')
      writeFileSync(config, JSON.stringify(given))
      const settled = async (flag?: string) =>
        settingIn(
          await settingsOf(
            flagsOf('serve').includes(option) || option.key === 'app' ? 'serve' : 'dev',
            new Map<OptionKey, OptionSource>([
              ['config', { value: config, from: '--config' }],
              ...(flag === undefined ? [] : [[option.key, { value: parseOption(option, flag), from: '' }] as const]),
            ]),
          ),
        )
      const read = (text: string) => [parseOption(option, text)].flat()[0]
      expect(await settled()).toEqual(read(ofFile))
      vi.stubEnv(option.environment, ofEnvironment)
      expect(await settled()).toEqual(read(ofEnvironment))
      expect(await settled(ofFlag)).toEqual(read(ofFlag))
      vi.stubEnv(option.environment, '')
      expect(await settled()).toEqual(read(ofFile))
    },
  )

  it('have their defaults', async () => {
    const settings = await settingsOf(
      'serve',
      new Map<OptionKey, OptionSource>([
        ['app', { value: 'app.ts', from: '' }],
        ['zeromq', { value: ['ipc://a,ipc://b'], from: '' }],
      ]),
    )
    expect(settings).toEqual({
      app: resolve('app.ts'),
      exportName: 'default',
      options: { zeromq: ['ipc://a,ipc://b'], overrideGlobalObjects: true, logger: settings.logger },
      workers: undefined,
      http: undefined,
      direct: false,
      touchReload: [],
      config: undefined,
      logger: settings.logger,
      closeTimeout: 10_000,
      listen: '127.0.0.1',
      watchFiles: { globs: [], from: '' },
      open: false,
      port: 6767,
    })
    expect(Object.keys(settings.logger)).toEqual(['info', 'warn', 'error'])
  })

  it.each([
    ['THREADS', '2', { threads: 2, workers: 1 }],
    ['WORKERS', 'auto', {}],
    ['EXEC_ARGV', ' --a  --b=1 ', { execArgv: ['--a', '--b=1'], workers: 1 }],
    ['DIRECT', 'true', { workers: 1 }],
  ])('with %s=%s ask for workers', async (name, text, workers) => {
    vi.stubEnv(`MONGREL2_FETCH_${name}`, text)
    vi.stubEnv('MONGREL2_FETCH_ZEROMQ', 'ipc://a,ipc://b')
    vi.stubEnv('MONGREL2_FETCH_APP', 'app.ts')
    expect((await settingsOf('serve', new Map())).workers).toEqual(workers)
  })

  it.each([
    [{ TOUCH_RELOAD: 'a' }, 'MONGREL2_FETCH_TOUCH_RELOAD needs workers to replace: add -p 1'],
    [{ MAX_REQUESTS_JITTER: '5' }, 'MONGREL2_FETCH_MAX_REQUESTS_JITTER: expected maxRequests beside it, got 5'],
  ])('are refused where they could do nothing: %j', async (variables, error) => {
    vi.stubEnv('MONGREL2_FETCH_ZEROMQ', 'ipc://a,ipc://b')
    vi.stubEnv('MONGREL2_FETCH_APP', 'app.ts')
    for (const [name, text] of Object.entries(variables)) vi.stubEnv(`MONGREL2_FETCH_${name}`, text)
    await expect(settingsOf('serve', new Map())).rejects.toThrow(error)
  })

  it.each([
    ['localhost:80', { host: 'localhost', port: 80 }],
    [':0', { host: undefined, port: 0 }],
    ['[::1]:8080', { host: '::1', port: 8080 }],
    ['/run/app.sock', { path: '/run/app.sock' }],
  ])('listen for HTTP at %s, with an endpoint more, or alone', async (text, at) => {
    vi.stubEnv('MONGREL2_FETCH_HTTP', text)
    vi.stubEnv('MONGREL2_FETCH_APP', 'app.ts')
    const alone = await settingsOf('serve', new Map())
    expect(alone.gateway?.places.http).toEqual([at])
    expect(alone.options.zeromq).toEqual([alone.gateway?.endpoint])
    vi.stubEnv('MONGREL2_FETCH_ZEROMQ', 'ipc://a,ipc://b')
    const beside = await settingsOf('serve', new Map())
    expect(beside.options.zeromq).toEqual(['ipc://a,ipc://b', beside.gateway?.endpoint])
  })

  it('listen for HTTP with the bounds of the server for bodies and messages', async () => {
    vi.stubEnv('MONGREL2_FETCH_HTTP', ':0')
    vi.stubEnv('MONGREL2_FETCH_APP', 'app.ts')
    const bounds = async () => (await settingsOf('serve', new Map())).gateway?.settings
    expect(await bounds()).toMatchObject({ bodyTimeout: 60_000, maxMessageSize: 16 * 1024 * 1024 })
    vi.stubEnv('MONGREL2_FETCH_BODY_TIMEOUT', '0')
    vi.stubEnv('MONGREL2_FETCH_MAX_MESSAGE_SIZE', '1000')
    expect(await bounds()).toMatchObject({ bodyTimeout: 2_147_483_647, maxMessageSize: 1000 })
  })

  it('separate the endpoints of the environment by blanks', async () => {
    vi.stubEnv('MONGREL2_FETCH_ZEROMQ', ' ipc://a,ipc://b  ipc://c,ipc://d ')
    vi.stubEnv('MONGREL2_FETCH_APP', 'app.ts')
    expect((await settingsOf('serve', new Map())).options.zeromq).toEqual(['ipc://a,ipc://b', 'ipc://c,ipc://d'])
  })

  it.each([
    ['debug', ['debug', 'info', 'warn', 'error']],
    ['error', ['error']],
    ['silent', []],
  ])('log from %s on', async (logLevel, methods) => {
    const path = join(directory, 'config.json')
    writeFileSync(path, JSON.stringify({ app: 'a.ts', zeromq: 'ipc://a,ipc://b', logLevel }))
    const { logger } = await settingsOf('serve', new Map([['config', { value: path, from: '' }]]))
    expect(Object.keys(logger)).toEqual(methods)
  })

  it('log to an object of the file', async () => {
    const path = join(directory, 'config.mjs')
    writeFileSync(
      path,
      `export const lines = []
      export default { app: 'a.ts', zeromq: { sendSpec: 'ipc://a', recvSpec: 'ipc://b' }, logger: { warn: (line) => lines.push(line) } }`,
    )
    vi.stubEnv('MONGREL2_FETCH_MAX_INFLIGHT', '1')
    const { logger } = await settingsOf('serve', new Map([['config', { value: path, from: '' }]]))
    logger.info?.('goes nowhere')
    const { lines } = (await import(path)) as { lines: string[] }
    expect(lines).toEqual([
      'mongrel2-fetch: there is no option MONGREL2_FETCH_MAX_INFLIGHT; did you mean MONGREL2_FETCH_MAX_IN_FLIGHT?',
    ])
    vi.stubEnv('MONGREL2_FETCH_LOG_FORMAT', 'json')
    await expect(settingsOf('serve', new Map([['config', { value: path, from: '' }]]))).rejects.toThrow(
      'MONGREL2_FETCH_LOG_FORMAT cannot be used with a logger that is an object: it has a form of its own',
    )
  })
})
