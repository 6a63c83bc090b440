import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { commandLine } from '../../../src/cli/command.ts'
import { OPTIONS } from '../../../src/cli/options/command-options.ts'
// On Node 20 the loader's hooks run in another thread, which has to read our TypeScript.
import '../../support/register-tsx.mjs'

const ENDPOINT = ['--zeromq', 'ipc://a,ipc://b']

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cli-test-'))
  // The parser prints what it throws.
  vi.spyOn(process.stderr, 'write').mockReturnValue(true)
})

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
  rmSync(directory, { recursive: true, force: true })
})

/** What a command line is refused with. */
async function refusal(...args: string[]): Promise<string> {
  try {
    await commandLine(() => {}).parseAsync(args, { from: 'user' })
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  throw new Error('expected it to be refused')
}

describe('A wrong command line', () => {
  it.each([
    [
      ['serv'],
      'expected one of serve, dev, fetch, replay, status, doctor, init, keygen, mongrel2, complete, got "serv"; did you mean serve?',
    ],
    [[], 'expected a command, such as `mongrel2-fetch dev app.ts`, got none'],
    [['serve', 'a.ts', 'b.ts'], 'expected one argument at most, got 2: a.ts b.ts'],
    [['status', 'a.ts'], 'expected no argument, got 1: a.ts'],
    [['fetch', 'a.ts', '/', 'b'], 'expected 2 arguments at most, got 3: a.ts / b'],
    [['serve', 'a.ts', '--check'], 'unknown option --check: `mongrel2-fetch replay` has it'],
    [['dev', 'a.ts', '-X', 'PUT'], 'unknown option -X: `mongrel2-fetch fetch` has it'],
    [['keygen', '--template', 'a'], 'unknown option --template: `mongrel2-fetch init` has it'],
    [['replay'], 'expected the file of `serve --record` as the argument, got none'],
    [['complete'], 'expected one of bash, zsh, fish as the argument, got none'],
    [
      ['mongrel2', 'stat'],
      'expected one of info, status, tasks, kill, time, uuid, reload, stop, terminate, got "stat"; did you mean status?',
    ],
    [
      ['init', '--template', 'hno'],
      '--template: expected one of hono, itty, plain, chat, got "hno"; did you mean hono?',
    ],
    [['serve', '-p'], '--workers: expected N|auto, got nothing'],
    [['fetch', '--header'], '--header: expected FIELD, got nothing'],
    [['serve'], 'expected an app, such as app.ts, as the argument'],
    [['serve', 'a.ts'], '--mongrel2 DATABASE or --http HOST:PORT; `mongrel2-fetch dev` needs none of them'],
    [
      ['serve', 'a.ts', ...ENDPOINT, '--max-in-fligth', '1'],
      'unknown option --max-in-fligth; did you mean --max-in-flight?',
    ],
    [['serve', 'a.ts', ...ENDPOINT, '--port', '1'], 'unknown option --port: for an ordinary HTTP socket use --http'],
    [['dev', 'a.ts', '--http', ':1'], 'unknown option --http: use --port N; `mongrel2-fetch serve` has --http'],
    [['status', '--watchh'], 'unknown option --watchh; did you mean --watch?'],
    [['fetch', 'a.ts', '--no-tls'], 'unknown option --no-tls: `mongrel2-fetch dev` has it'],
    [['replay', 'a.jsonl', 'a.ts', '--timeout', 'x'], '--timeout: expected milliseconds, got x'],
    [
      ['serve', 'a.ts', ...ENDPOINT, '--max-in-flight', 'many'],
      '--max-in-flight: expected an integer from 1, got "many"',
    ],
    [['serve', 'a.ts', ...ENDPOINT, '--max-in-flight', ''], '--max-in-flight: expected an integer from 1, got ""'],
    [
      ['serve', 'a.ts', ...ENDPOINT, '--max-in-flight', '1e3'],
      '--max-in-flight: expected an integer from 1, got "1e3"',
    ],
    [['serve', 'a.ts', ...ENDPOINT, '--max-in-flight', '0'], '--max-in-flight: expected an integer from 1, got 0'],
    [
      ['serve', 'a.ts', ...ENDPOINT, '--close-timeout', '-1'],
      '--close-timeout: expected an integer from 0 to 2147483647, got -1',
    ],
    [['serve', 'a.ts', ...ENDPOINT, '--trust-proxy', 'all'], 'expected true, false or a number of proxies, got "all"'],
    [['serve', 'a.ts', ...ENDPOINT, '--trust-proxy', '-1'], '--trust-proxy: expected true, false or a number'],
    [['serve', 'a.ts', ...ENDPOINT, '--temp-store', 'x'], "--temp-store: expected Mongrel2's upload.temp_store"],
    [['serve', 'a.ts', ...ENDPOINT, '--identity', 'x'], '--identity: expected a UUID, got "x"'],
    [['serve', 'a.ts', ...ENDPOINT, '--log-level', 'loud'], 'expected one of debug, info, warn, error, silent'],
    [['serve', 'a.ts', ...ENDPOINT, '--logger', 'file:x'], '--logger: expected console, zeromq:tcp://HOST:PORT'],
    [
      ['serve', 'a.ts', ...ENDPOINT, '--logger', 'zeromq:nowhere'],
      '--logger: expected console, zeromq:tcp://HOST:PORT',
    ],
    [['serve', 'a.ts', ...ENDPOINT, '--config', 'none.ts'], 'there is no configuration file none.ts'],
    [['serve', 'a.ts', '--zeromq', 'tcp://a:1'], "--zeromq: expected 'SEND_SPEC,RECV_SPEC[,CONTROL_PORT]'"],
    [
      ['serve', 'a.ts', '--zeromq', 'ipc://a,udp://b'],
      '--zeromq: expected tcp://HOST:PORT or ipc://PATH, got "udp://b"',
    ],
    [['serve', 'a.ts', ...ENDPOINT, ...ENDPOINT], '--zeromq: expected each Handler once, got ipc://a twice'],
    [['serve', 'a.ts', ...ENDPOINT, '-p', 'all'], 'expected a number of processes or auto, got "all"'],
    [['serve', 'a.ts', ...ENDPOINT, '-p', '0'], '--workers: expected an integer from 1 to 1024, got 0'],
    [['serve', 'a.ts', ...ENDPOINT, '--threads', '256'], '--threads: expected an integer from 1 to 255, got 256'],
    [
      ['serve', 'a.ts', ...ENDPOINT, '--direct', '--threads', '2'],
      '--threads cannot be used with --direct: it needs the dispatcher',
    ],
    [['serve', 'a.ts', '--http', '8080'], '--http: expected HOST:PORT, :PORT or the path of a socket'],
    [['serve', 'a.ts', '--http', 'localhost:65536'], '--http: expected HOST:PORT, :PORT or the path of a socket'],
    [['serve', 'a.ts', ...ENDPOINT, '--worker', '2'], '; did you mean --workers?'],
    [['dev', 'a.ts', '--workers', '2'], 'unknown option --workers: `mongrel2-fetch serve` has it'],
    [['dev', 'a.ts', ...ENDPOINT, '--port', '65536'], '--port: expected an integer from 0 to 65535, got 65536'],
    [['serve', 'a.ts', ...ENDPOINT, '--tls-cert', 'a', '--tls-key', 'b'], '--tls-cert cannot be used without --http'],
    [['serve', 'a.ts', '--http', ':0', '--tls-key', 'b'], '--tls-key needs --tls-cert beside it'],
    [['dev', 'a.ts', '--tls-cert', 'a', '--tls-key', 'b'], '--tls-cert cannot be used without --tls'],
    [['dev', 'a.ts', '--tls-key', 'b'], '--tls-key cannot be used without --tls'],
    [['dev', 'a.ts', '--tls', '--tls-cert', 'a'], '--tls-cert needs --tls-key beside it'],
    [['dev', 'a.ts', '--tls', ...ENDPOINT], '--tls cannot be used with --zeromq'],
    [['dev', 'a.ts', '--listen', '0.0.0.0', ...ENDPOINT], '--listen cannot be used with --zeromq'],
    [['dev', 'a.ts', '--listen', 'localhost'], '--listen: expected an IP address of this machine'],
    [['dev', 'a.ts', '--host', '0.0.0.0'], 'to listen at an address: --listen 0.0.0.0'],
    [['dev', 'a.ts', '--host', '[::1]'], 'to listen at an address: --listen'],
    [['dev', 'a.ts', '--watch-files', 'missing/*.html'], '--watch-files missing/*.html: ENOENT'],
    [
      ['dev', 'a.ts', '--tls', '--tls-cert', 'none.crt', '--tls-key', 'none.key'],
      "expected a certificate and its private key without a password, as PEM, got ENOENT: no such file or directory, open 'none",
    ],
    [['complete', 'basch'], 'expected one of bash, zsh, fish, got "basch"; did you mean bash?'],
  ])('%j is refused with %s', async (args, message) => {
    expect(await refusal(...args)).toContain(message)
  })
})

describe('A wrong configuration file', () => {
  it.each([
    ['c.json', '{ "maxInFligth": 1 }', 'c.json: there is no option maxInFligth; did you mean maxInFlight?'],
    ['c.json', '{ "uploads": { "kep": true } }', 'c.json: there is no option uploads.kep; did you mean uploads.keep?'],
    ['c.json', '{ "config": "other.json" }', 'c.json: there is no option config'],
    ['c.json', '{ "maxQueued": "1" }', 'c.json: maxQueued: expected an integer from 0, got "1"'],
    ['c.json', '{ "maxQueued": -1 }', 'c.json: maxQueued: expected an integer from 0, got -1'],
    ['c.json', '{ "flowControl": "yes" }', 'c.json: flowControl: expected true or false, got "yes"'],
    ['c.json', '{ "workers": "all" }', 'c.json: workers: expected a number of processes or auto, got "all"'],
    ['c.json', '{ "execArgv": "--a" }', 'c.json: execArgv: expected a list of texts, got "--a"'],
    ['c.json', '{ "maxRss": -1 }', 'c.json: maxRss: expected an integer from 0, got -1'],
    ['c.json', '{ "app": "" }', 'c.json: app: expected a text, got ""'],
    ['c.json', '{ "logLevel": "loud" }', 'c.json: logLevel: expected one of debug'],
    ['c.json', '{', 'c.json could not be loaded'],
    ['c.json', '[]', 'c.json: expected an object of options as the default export'],
    ['c.mjs', 'export default { onError: 1 }', 'onError: expected a function, got 1'],
    ['c.mjs', "export default { logger: { warn: 'x' } }", 'logger.warn: expected a function, got "x"'],
    ['c.mjs', 'export const zeromq = 1', 'c.mjs: expected an object of options as the default export'],
    ['c.mjs', 'throw new Error()', 'c.mjs could not be loaded'],
  ])('%s with %s is refused', async (name, text, message) => {
    const path = join(directory, name)
    writeFileSync(path, text)
    expect(await refusal('serve', 'a.ts', ...ENDPOINT, '--config', path)).toContain(message)
  })
})

describe('A wrong environment', () => {
  it('is refused with the name of the variable', async () => {
    vi.stubEnv('MONGREL2_FETCH_MAX_QUEUED', 'x')
    expect(await refusal('serve', 'a.ts', ...ENDPOINT)).toBe(
      'MONGREL2_FETCH_MAX_QUEUED: expected an integer from 0, got "x"',
    )
    vi.stubEnv('MONGREL2_FETCH_MAX_QUEUED', '-1')
    expect(await refusal('serve', 'a.ts', ...ENDPOINT)).toBe(
      'MONGREL2_FETCH_MAX_QUEUED: expected an integer from 0, got -1',
    )
  })
})

describe('A message about an option', () => {
  it.each([
    [['serve', 'a.ts', ...ENDPOINT], { workers: 0 }, ': expected an integer from 1 to 1024, got 0'],
    [['serve', 'a.ts', '--http', ':0'], { tlsKey: 'b' }, ' needs --tls-cert beside it'],
    [['serve', 'a.ts', '--http', ':0'], { cluster: 'tcp://127.0.0.1:1' }, ', for the nodes'],
    [
      ['serve', 'a.ts', ...ENDPOINT, '--direct'],
      { threads: 2 },
      ' cannot be used with --direct: it needs the dispatcher',
    ],
    [['serve', 'a.ts', ...ENDPOINT], { touchReload: ['a'] }, ' needs workers to replace: add -p 1'],
    [['serve', 'a.ts', ...ENDPOINT], { admin: '0.0.0.0:9090' }, ' cannot be used without --admin-token-file'],
    [['serve', 'a.ts', ...ENDPOINT], { handler: 'a' }, ' cannot be used without --mongrel2'],
    [['dev', 'a.ts'], { watchFiles: ['missing/*.html'] }, ' missing/*.html: ENOENT'],
    [['dev', 'a.ts', '--tls', '--tls-key', 'b'], { tlsCert: 'a' }, ' and --tls-key: expected a certificate'],
  ] as const)('of %j with %j names it as it was given', async (args, options, message) => {
    const [given] = Object.entries(options).map(([key, value]) => ({ key, value: [value].flat().join(' ') }))
    const option = OPTIONS.find(({ key }) => key === given?.key)
    expect(await refusal(...args, `--${option?.flag}`, given?.value ?? '')).toContain(`--${option?.flag}${message}`)
    vi.stubEnv(option?.environment ?? '', given?.value)
    expect(await refusal(...args)).toContain(`${option?.environment}${message}`)
    vi.unstubAllEnvs()
    const path = join(directory, 'c.json')
    writeFileSync(path, JSON.stringify(options))
    expect(await refusal(...args, '--config', path)).toContain(`c.json: ${given?.key}${message}`)
  })
})
