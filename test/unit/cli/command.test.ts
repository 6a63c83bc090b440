import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { commandLine } from '../../../src/cli/command.ts'
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
    [['serv'], '; did you mean serve?'],
    [['serve', 'a.ts', 'b.ts'], 'too many arguments'],
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
    [['serve', 'a.ts', '--http', ':0', '--tls-key', 'b'], 'expected --tls-cert and --tls-key together'],
    [['dev', 'a.ts', '--tls-cert', 'a', '--tls-key', 'b'], '--tls-cert cannot be used without --tls'],
    [['dev', 'a.ts', '--tls-key', 'b'], '--tls-key cannot be used without --tls'],
    [['dev', 'a.ts', '--tls', '--tls-cert', 'a'], 'expected --tls-cert and --tls-key together'],
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
    [['complete', 'basch'], 'expected one of bash, zsh, fish, got basch; did you mean bash?'],
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
