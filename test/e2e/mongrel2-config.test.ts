import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type HandlerConfig,
  loadMongrel2Config,
  type Mongrel2Config,
  renderMongrel2Config,
  type ServerConfig,
} from '../../src/mongrel2/index.ts'
import { quoted } from '../../src/mongrel2/quoting.ts'
import { nodeWithSqlite } from '../support/other-node.ts'

const node = nodeWithSqlite()

describe('renderMongrel2Config', () => {
  let directory = ''
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'm2sh-'))
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it.skipIf(node === undefined)(
    'is loaded by m2sh as it was asked for (node:sqlite reads it: Node 24 has to be installable)',
    { timeout: 60_000 },
    async () => {
      const configs = fc.sample(config, 60)
      for (const [at, each] of configs.entries()) {
        mkdirSync(join(directory, `${at}`))
        await loadMongrel2Config(join(directory, `${at}`), each)
      }
      const read = JSON.parse(
        execFileSync(node ?? '', ['--no-warnings', '--input-type=module', '-e', READ, directory, `${configs.length}`], {
          encoding: 'utf8',
        }),
      )
      for (const [at, each] of configs.entries()) expect(read[at]).toEqual(rowsOf(each))
    },
  )

  it('refuses texts that m2sh would read as others, or not at all', () => {
    for (const name of ['a"b\'c', 'a\\', 'a\\"b\'c\\', 'a\nb', 'a\0b', '\ud800']) {
      expect(() => renderMongrel2Config({ servers: [{ ...SERVER, name }] })).toThrow(
        /^servers\[0\]\.name: expected a text that m2sh can read/,
      )
    }
  })

  it('refuses a second Handler with rawPayload, at which m2sh crashes', async () => {
    const routes = { '/': HANDLER, '/b': { ...HANDLER, sendSpec: 'ipc://s2', recvSpec: 'ipc://r2' } }
    expect(() => renderMongrel2Config({ servers: [{ ...SERVER, hosts: [{ name: 'localhost', routes }] }] })).toThrow(
      'servers[0].hosts[0].routes["/b"].rawPayload: expected one Handler with it, since m2sh crashes at a second, got true',
    )
  })

  it('refuses what would be two things under one name, but not the same addresses in two chroots', () => {
    const other = { ...HANDLER, sendIdent: 'other', rawPayload: false }
    const hosts = (...handlers: HandlerConfig[]) => [
      { name: 'localhost', routes: Object.fromEntries(handlers.map((handler, at) => [`/${at}`, handler])) },
    ]
    expect(() => renderMongrel2Config({ servers: [SERVER, SERVER] })).toThrow(
      'config.servers: expected a uuid of its own for each server, got "main"',
    )
    expect(() => renderMongrel2Config({ servers: [{ ...SERVER, hosts: hosts(HANDLER, other) }] })).toThrow(
      'servers[0].hosts[0].routes["/1"]: expected each Handler to have addresses of its own, got ipc://s twice',
    )
    const text = renderMongrel2Config({
      servers: [SERVER, { ...SERVER, uuid: 'b', chroot: 'b/', hosts: hosts(other) }],
    })
    expect(text).toContain('servers = [server0, server1]')
  })

  it.each<[error: string, config: object]>([
    [
      'there is no setting limits.bufer_size; did you mean limits.buffer_size?',
      { settings: { 'limits.bufer_size': 1 } },
    ],
    ['settings.limits.min_ping: expected an integer from 0', { settings: { 'limits.min_ping': -1 } }],
    ['servers[0].hosts: expected at least one host', { servers: [{ uuid: 'a', port: 1, hosts: [] }] }],
    ['servers[0]: expected the setting certdir beside tls', { servers: [{ ...SERVER, tls: true }] }],
    ['servers[0].uuid: expected a name without slashes', { servers: [{ ...SERVER, uuid: 'a/b' }] }],
    ['servers[0].port: expected an integer from 1 to 65535', { servers: [{ ...SERVER, port: 0 }] }],
    [
      `servers[0].hosts[0].routes["/"].base: expected a path that ends in '/', got "static"`,
      { servers: [{ ...SERVER, hosts: [{ name: 'a', routes: { '/': { base: 'static' } } }] }] },
    ],
    [
      `servers[0].hosts[0].routes["/"].sendIdent: expected a text without spaces, '_' and '.', got "a_b"`,
      { servers: [{ ...SERVER, hosts: [{ name: 'a', routes: { '/': { ...HANDLER, sendIdent: 'a_b' } } }] }] },
    ],
    [
      'servers[0].hosts[0].routes["/"].recvIdent: expected the beginning of app, since no other reply arrives, got "b"',
      { servers: [{ ...SERVER, hosts: [{ name: 'a', routes: { '/': { ...HANDLER, recvIdent: 'b' } } }] }] },
    ],
    [
      'servers[0].hosts[0].routes["/"]: expected a Handler with sendSpec, a Proxy with addr or a Dir with base, got an object (x)',
      { servers: [{ ...SERVER, hosts: [{ name: 'a', routes: { '/': { x: 1 } } }] }] },
    ],
  ])('says "%s"', (error, config) => {
    expect(() => renderMongrel2Config({ servers: [SERVER], ...config })).toThrow(error)
  })

  it('reports what m2sh says', async () => {
    const config = { servers: [SERVER] }
    await expect(loadMongrel2Config(directory, config)).resolves.toBeUndefined()
    mkdirSync(join(directory, 'broken/config.sqlite'), { recursive: true })
    await expect(loadMongrel2Config(join(directory, 'broken'), config)).rejects.toThrow(
      expect.objectContaining({
        code: 'load_failed',
        message: expect.stringContaining('unable to open database file'),
      }),
    )
  })
})

const HANDLER: HandlerConfig = { sendSpec: 'ipc://s', recvSpec: 'ipc://r', sendIdent: 'app', rawPayload: true }
const SERVER: ServerConfig = {
  uuid: 'main',
  port: 1,
  hosts: [{ name: 'localhost', routes: { '/': HANDLER } }],
}

/** Prints the rows of each database, sorted, without those of m2sh's own. */
const READ = `
  import { DatabaseSync } from 'node:sqlite'
  const [directory, count] = process.argv.slice(1)
  console.log(JSON.stringify(Array.from({ length: Number(count) }, (_, at) => {
    const db = new DatabaseSync(directory + '/' + at + '/config.sqlite', { readOnly: true })
    const all = (sql) => db.prepare(sql).all().map((row) => JSON.stringify(Object.values(row))).sort()
    return {
      servers: all('select uuid, port, name, bind_addr, use_ssl, default_host, chroot, access_log, error_log, pid_file, control_port from server'),
      settings: all('select key, value from setting'),
      handlers: all("select host.name, matching, path, send_spec, recv_spec, send_ident, recv_ident, protocol, raw_payload from route join host on host.id = host_id join handler on handler.id = target_id and target_type = 'handler'"),
      proxies: all("select host.name, path, addr, port from route join host on host.id = host_id join proxy on proxy.id = target_id and target_type = 'proxy'"),
      directories: all("select host.name, path, base, index_file, default_ctype, cache_ttl from route join host on host.id = host_id join directory on directory.id = target_id and target_type = 'dir'"),
      targets: db.prepare('select (select count(*) from handler) + (select count(*) from proxy) + (select count(*) from directory) as n').get().n,
    }
  })))`

const text = fc
  .oneof(
    fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }),
    fc.string({ minLength: 1, maxLength: 6, unit: fc.constantFrom(...'ab\\\'"#,:{}[]()=% é') }),
  )
  .filter((value) => quoted(value) !== undefined)
const ident = fc.stringMatching(/^[a-zA-Z0-9-]{1,12}$/)
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })

/** A configuration with hosts of their own names, and targets of their own addresses. */
const config: fc.Arbitrary<Mongrel2Config> = fc
  .record({
    servers: fc.uniqueArray(
      fc.record({
        uuid: text.map((value) => value.replaceAll('/', '-')),
        port: fc.integer({ min: 1, max: 65_535 }),
        name: optional(text),
        bindAddr: optional(text),
        chroot: optional(text),
        accessLog: optional(text),
        errorLog: optional(text),
        pidFile: optional(text),
        controlPort: optional(fc.constantFrom('ipc://run/c', 'tcp://127.0.0.1:7000')),
        tls: optional(fc.boolean()),
        hosts: fc.uniqueArray(
          fc.record({
            name: text,
            matching: optional(text),
            routes: fc.dictionary(
              text,
              fc.oneof(
                fc.record({
                  kind: fc.constant('handler' as const),
                  sendIdent: ident,
                  protocol: fc.constantFrom('json' as const, 'tnetstring' as const),

                  shared: fc.boolean(),
                }),
                fc.record({ addr: text, port: fc.integer({ min: 1, max: 65_535 }) }),
                fc.record({
                  base: text.map((value) => `${value}/`),
                  indexFile: optional(text),
                  cacheTtl: optional(fc.nat()),
                }),
              ),
              { minKeys: 1, maxKeys: 8 },
            ),
          }),
          { minLength: 1, maxLength: 3, selector: ({ name }) => name },
        ),
      }),
      { minLength: 1, maxLength: 3, selector: ({ uuid }) => uuid },
    ),
    settings: fc.record(
      {
        'limits.min_ping': fc.integer({ min: 0, max: 2 ** 31 - 1 }),
        'upload.temp_store': text.map((value) => `${value}XXXXXX`),
        ssl_ciphers: text,
        'download.flow_control': fc.constantFrom(true, false, 0 as const, 1 as const),
      },
      { requiredKeys: [] },
    ),
  })
  .map(({ servers, settings }) => {
    let addresses = 0
    const shared = { sendSpec: 'ipc://s', recvSpec: 'tcp://*:9', sendIdent: 'shared' }
    return {
      servers: servers.map((server) => ({
        ...server,
        hosts: server.hosts.map((host) => ({
          ...host,
          routes: Object.fromEntries(
            Object.entries(host.routes).map(([path, target]) => {
              if (!('kind' in target)) return [path, target]
              const { kind: _, shared: isShared, ...own } = target
              const at = addresses++
              return [
                path,
                isShared
                  ? { ...shared }
                  : { ...own, sendSpec: `ipc://s${at}`, recvSpec: `ipc://r${at}`, rawPayload: at === 3 },
              ]
            }),
          ),
        })),
      })),
      settings: { certdir: 'certs/', ...settings },
    } as Mongrel2Config
  })

/** The rows that a configuration should be in the database. */
function rowsOf({ servers, settings }: Mongrel2Config): Record<string, unknown> {
  const hosts = servers.flatMap((server) => server.hosts)
  const routes = hosts.flatMap(({ name, matching = name, routes }) =>
    Object.entries(routes).map(([path, target]) => ({ name, matching, path, target })),
  )
  const sorted = (rows: readonly unknown[][]) => rows.map((row) => JSON.stringify(row)).sort()
  const targets = new Set<string>()
  const [handlers, proxies, directories]: [unknown[][], unknown[][], unknown[][]] = [[], [], []]
  for (const { name, matching, path, target } of routes) {
    targets.add(JSON.stringify(target))
    if ('sendSpec' in target) {
      const { sendSpec, recvSpec, sendIdent, protocol = 'json', rawPayload = false } = target
      handlers.push([name, matching, path, sendSpec, recvSpec, sendIdent, '', protocol, Number(rawPayload)])
    } else if ('addr' in target) proxies.push([name, path, target.addr, target.port])
    else {
      const { base, indexFile = 'index.html', defaultCtype = 'application/octet-stream', cacheTtl = 0 } = target
      directories.push([name, path, base, indexFile, defaultCtype, cacheTtl])
    }
  }
  return {
    servers: sorted(
      servers.map((server) => [
        server.uuid,
        server.port,
        server.name ?? 'main',
        server.bindAddr ?? '0.0.0.0',
        Number(server.tls ?? false),
        server.hosts[0]?.name,
        server.chroot ?? './',
        server.accessLog ?? '/logs/access.log',
        server.errorLog ?? '/logs/error.log',
        server.pidFile ?? '/run/mongrel2.pid',
        server.controlPort ?? '',
      ]),
    ),
    settings: sorted(
      Object.entries(settings ?? {}).map(([key, value]) => [
        key,
        typeof value === 'string' ? value : String(Number(value)),
      ]),
    ),
    handlers: sorted(handlers),
    proxies: sorted(proxies),
    directories: sorted(directories),
    targets: targets.size,
  }
}
