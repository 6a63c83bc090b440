// npm test [-- --full] [VITEST ARGUMENTS]
//
// Installs what is missing, then types and lint, then every test; ends with one line such as `123 passed, 0 failed`.
// --full adds the long tests (test/full), which install clients, a browser and a dozen frameworks, then all of it on the other link,
// libzmq, then the end-to-end tests on the embedded front, and then the suite on the oldest Node of package.json, on 22, 24 and 26, each with the
// long tests of HTTPS.

import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { showProgress } from '../examples/progress.mjs'
import { installPrograms, root, runProgram, setUp } from '../examples/setup.mjs'

/** The command tells systemd that it is ready, which a test sees by systemd's own programs. */
const SYSTEMD = { 'systemd-notify': 'systemd', 'systemd-socket-activate': 'systemd' }
const SYSTEMD_ADVICE = `The tests need systemd's programs systemd-notify and systemd-socket-activate on the PATH.
  Debian, Ubuntu:  sudo apt-get install systemd`

/** Uploads are tested with a client that many use, and the gateway behind nginx. */
const CURL = { curl: 'curl', nginx: 'nginx' }
const CURL_ADVICE = `The tests need curl and nginx on the PATH.
  Debian, Ubuntu:  sudo apt-get install curl nginx`

/** The chat is tested in a browser, uploads with it and with what people script with (HTTPie brings Requests and Python), the gateway behind other servers and by HTTP/2. */
const PROGRAMS = {
  chromium: 'chromium',
  wget: 'wget',
  http: 'httpie',
  apache2: 'apache2',
  lighttpd: 'lighttpd',
  'cgi-fcgi': 'libfcgi-bin',
  h2load: 'nghttp2-client',
  promtool: 'prometheus',
}
const PROGRAMS_ADVICE = `The long tests need the programs chromium, wget, http (HTTPie), apache2, lighttpd, cgi-fcgi, h2load and promtool on the PATH, and
  Python's Requests.
  Debian:    sudo apt-get install chromium wget httpie python3-requests apache2 lighttpd libfcgi-bin nghttp2-client prometheus
  elsewhere: install them, and link Chromium's program to chromium`

const args = process.argv.slice(2)
const full = args.includes('--full')
const vitestArgs = args.filter((arg) => arg !== '--full')
const reports = await mkdtemp(join(tmpdir(), 'mongrel2-fetch-test-'))
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stop.abort())

try {
  process.exitCode = await main()
} catch (error) {
  console.error(stop.signal.aborted ? 'Stopped.' : error.message)
  process.exitCode = 1
} finally {
  await rm(reports, { recursive: true, force: true })
}

async function main() {
  await setUp({ signal: stop.signal })
  await installPrograms(SYSTEMD, SYSTEMD_ADVICE, { signal: stop.signal })
  await installPrograms(CURL, CURL_ADVICE, { signal: stop.signal })
  if (full) await installPrograms(PROGRAMS, PROGRAMS_ADVICE, { signal: stop.signal })
  await during('Checking types and lint (npm run check)', runProgram('npm', ['run', 'check'], { signal: stop.signal }))

  const total = { passed: 0, failed: 0 }
  let result = 0
  const suites = [{ title: 'Testing', env: { FULL: full ? '1' : '' } }, ...(full ? await otherSuites() : [])]
  for (const [n, { title, version, env, files }] of suites.entries()) {
    if (n > 0) console.log(`\n${title}`)
    const node = version === undefined ? process.execPath : await nodeOf(version)
    const numbered = suites.length === 1 ? title : `${n + 1} of ${suites.length}: ${title}`
    // What the tests start by name is this Node, too.
    const PATH = version === undefined ? process.env.PATH : `${dirname(node)}${delimiter}${process.env.PATH}`
    const code = await test(total, node, { ...env, PATH, TEST_TITLE: numbered }, files)
    result ||= code
  }
  console.log(`${total.passed} passed, ${total.failed} failed`)
  return result
}

/** What --full runs after the first suite. */
async function otherSuites() {
  const { engines } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  const versions = [engines.node.replace('>=', ''), '22', '24', '26']
  return [
    { title: 'All tests on libzmq', env: { FULL: '1', LINK: 'zeromq' } },
    { title: 'The suite with light objects in the place of the global ones', env: { LIGHT: '1' } },
    { title: 'The end-to-end tests on the embedded front', env: { FRONT: 'embedded' }, files: ['test/e2e'] },
    // HTTP/2 is Node's own, and differs most between versions.
    ...versions.flatMap((version) => [
      { title: `The suite on Node ${version}`, version },
      {
        title: `The long tests of HTTPS on Node ${version}`,
        version,
        env: { FULL: '1' },
        files: ['test/full/https.test.ts'],
      },
    ]),
  ]
}

/**
 * The path of a version of Node, from a package with the binary: never a dependency, since in node_modules it would take the place of `node`.
 * Only asked for, not run by `npm exec`, whose variables would tell every npm and npx that a test runs about this package.
 */
async function nodeOf(version) {
  const pack = `--package=node-linux-${process.arch}@${version}`
  const args = ['exec', '--yes', pack, '--', 'node', '-p', 'process.execPath']
  const got = promisify(execFile)('npm', args, { cwd: root, signal: stop.signal })
  return (await during(`Getting Node ${version} (npm exec)`, got)).stdout.trim()
}

/** Shows for how long something has been going on. */
async function during(title, work) {
  const progress = showProgress(title)
  try {
    return await work
  } finally {
    progress.end()
  }
}

/** Runs the suite once and adds its numbers to `total`; the exit code. */
async function test(total, node, env, files = []) {
  const report = join(reports, 'report.json')
  await rm(report, { force: true })
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', ...files, ...vitestArgs]
  const code = await run(node, vitest, { FULL: '', REPORT: report, ...env })
  const { passed, failed } = await count(report)
  total.passed += passed
  // A run can fail without a test that does, for example by an unhandled rejection.
  total.failed += code === 0 ? failed : Math.max(failed, 1)
  return code
}

async function count(report) {
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(await readFile(report, 'utf8').catch(() => '{}'))
  // A file that cannot be loaded has no tests that could fail.
  const broken = (testResults ?? []).filter(
    ({ status, assertionResults }) =>
      status === 'failed' && assertionResults.every((result) => result.status !== 'failed'),
  )
  return { passed: numPassedTests ?? 0, failed: (numFailedTests ?? 0) + broken.length }
}

/** Runs a command in the checkout with our output as its own; the exit code. */
function run(command, args, env = {}) {
  return new Promise((resolve, reject) => {
    const options = { cwd: root, stdio: 'inherit', env: { ...process.env, ...env }, signal: stop.signal }
    const child = spawn(command, args, options)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (signal !== null) console.error(`${command} was ended by ${signal}.`)
      resolve(code ?? 1)
    })
  })
}
