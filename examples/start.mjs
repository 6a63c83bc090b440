// npm start [-- [EXAMPLE] [--port N]]
//
// Starts Mongrel2 with examples/mongrel2.conf and an example behind it, hello-hono unless told otherwise, until Ctrl-C.
// Where Mongrel2 cannot be had, the embedded front takes its place.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import util from 'node:util'
import { checkNode, root, setUp } from './setup.mjs'

/** How long the first answer may take, in milliseconds. */
const START_TIMEOUT = 30_000
/** How long a program may take to stop before it is killed, in milliseconds: more than `close()` gives open requests. */
const STOP_TIMEOUT = 12_000
/** The user and group `nobody`, as Linux numbers them. */
const NOBODY = 65534

const stop = new AbortController()
// Again and again, not once: Ctrl-C reaches npm and us, and npm passes on what it got.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stop.abort())

try {
  await main(stop.signal)
} catch (error) {
  if (!stop.signal.aborted) {
    console.error(error.message)
    process.exitCode = 1
  }
}

async function main(signal) {
  checkNode()
  const conf = await fs.readFile(join(root, 'examples/mongrel2.conf'), 'utf8')
  const host = valueIn(conf, /\bbind_addr="(.*?)"/)
  const { example, wanted } = await readArguments(valueIn(conf, /\bport=(\d+)/))
  const port = await reserve(wanted, host)
  const missing = await setUp({ signal, mongrel2Optional: true })
  signal.throwIfAborted()
  if (missing !== undefined)
    console.log(`${missing}\n\nUntil then the embedded front takes its place, for development.`)

  // Everything that Mongrel2 writes is in a directory of its own: the checkout stays clean and need not be
  // writable, and two of us do not meet. The ZeroMQ addresses move there too, as tcp has only one port 9999.
  // There since the setup.
  const { guardChild, guardDirectory } = await import('../dist/src/runtime/orphan-guard.js')
  const directory = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'mongrel2-fetch-')))
  const removeDirectory = guardDirectory(directory)
  const programs = []
  try {
    const endpoints = {
      ZEROMQ: `ipc://${directory}/run/9999,ipc://${directory}/run/9998`,
      ZEROMQ_TNET: `ipc://${directory}/run/9997,ipc://${directory}/run/9996`,
      JOBS: `ipc://${directory}/run/jobs`,
    }
    const front =
      missing === undefined
        ? await launchMongrel2(directory, conf, port)
        : await launchEmbeddedFront(directory, { ...endpoints, PORT: String(port) })
    programs.push(front)
    guardChild(front.child, 'KILL')
    const app = launch(example, process.execPath, ['--import', 'tsx', example], {
      cwd: root,
      env: {
        ...process.env,
        ...endpoints,
        CHROOT: directory,
      },
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    programs.push(app)
    guardChild(app.child, 'KILL')

    const url = `http://${host}:${port}/`
    const ended = Promise.race([stopped(signal), front.died, app.died])
    await Promise.race([ended, answered(url, signal)])
    console.log(`${app.name} answers at ${url} through ${front.name}. Ctrl-C stops both.`)
    await ended
  } finally {
    // The example first: it answers what it has received, and for that it needs Mongrel2.
    for (const program of programs.reverse()) await program.stop()
    removeDirectory()
  }
}

async function launchMongrel2(directory, conf, port) {
  await prepare(directory, conf.replace(/\bport=\d+/, `port=${port}`).replaceAll('tcp://127.0.0.1:', 'ipc://run/'))
  return launch('Mongrel2', 'mongrel2', ['config.sqlite', valueIn(conf, /\buuid="(.*?)"/)], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

async function launchEmbeddedFront(directory, env) {
  await fs.mkdir(join(directory, 'run'))
  return launch('the embedded front', process.execPath, ['examples/front.mjs'], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

function valueIn(conf, pattern) {
  const match = pattern.exec(conf)
  if (match === null) throw new Error(`examples/mongrel2.conf has nothing like ${pattern}.`)
  return match[1]
}

async function readArguments(defaultPort) {
  const examples = await readExamples()
  const usage = `Usage: npm start [-- [EXAMPLE] [--port N]], where EXAMPLE is one of ${[...examples.keys()].join(', ')}.`
  try {
    const { values, positionals } = util.parseArgs({ options: { port: { type: 'string' } }, allowPositionals: true })
    const [example = 'hello-hono', ...rest] = positionals
    const port = values.port ?? process.env.PORT ?? defaultPort
    if (rest.length > 0) throw new Error(`There can be one example only, and ${positionals.length} were given.`)
    const file = examples.get(example)
    if (file === undefined) throw new Error(`There is no example '${example}'.`)
    if (!/^\d{1,5}$/.test(port) || port > 65535) throw new Error(`The port must be 0 to 65535, and '${port}' is not.`)
    return { example: file, wanted: Number(port) }
  } catch (error) {
    throw new Error(`${error.message}\n${usage}`)
  }
}

/** The examples' files by their names: NAME.ts, or NAME/server.ts of one that has several. */
async function readExamples() {
  const entries = await fs.readdir(join(root, 'examples'), { withFileTypes: true })
  const files = entries.map((entry) => {
    if (entry.isDirectory()) return [entry.name, `examples/${entry.name}/server.ts`]
    return [entry.name.replace(/\.ts$/, ''), `examples/${entry.name}`]
  })
  return new Map(files.filter(([, file]) => file.endsWith('.ts')))
}

/** Checks that a port can be had, for Mongrel2's own complaint is long; 0 stands for any, which it does not know. */
async function reserve(port, host) {
  const probe = createServer().listen(port, host)
  try {
    await once(probe, 'listening')
  } catch (error) {
    const why = { EADDRINUSE: 'is taken by another program', EACCES: 'needs rights that this user does not have' }
    throw new Error(`Port ${port} of ${host} ${why[error.code] ?? `cannot be had: ${error.message}`}.
Choose another with: npm start -- --port ${port < 1024 ? 6767 : port + 1}`)
  }
  const found = probe.address().port
  probe.close()
  await once(probe, 'close')
  return found
}

/** Makes the directory that Mongrel2 runs in, with its configuration loaded. */
async function prepare(directory, conf) {
  for (const name of ['run', 'logs', 'tmp']) await fs.mkdir(join(directory, name))
  await fs.writeFile(join(directory, 'mongrel2.conf'), conf)
  const m2sh = launch('m2sh', 'm2sh', ['load', '-config', 'mongrel2.conf', '-db', 'config.sqlite'], {
    cwd: directory,
    // It keeps a log of who loaded what, and complains where nobody is logged in.
    env: { ...process.env, LOGNAME: process.env.LOGNAME ?? 'npm-start' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const result = await m2sh.ended
  // It ends with 0 also when it could not read the file.
  if (result !== 'exit code 0' || m2sh.output().includes('[ERROR]')) {
    throw new Error(`m2sh cannot load examples/mongrel2.conf:\n${m2sh.output()}`)
  }
  if (process.getuid?.() === 0) {
    // Started as root, Mongrel2 goes on as the owner of its directory.
    for (const name of ['run', 'logs', 'tmp', '.']) await fs.chown(join(directory, name), NOBODY, NOBODY)
  }
}

/**
 * Starts a program in a session of its own, so that Ctrl-C does not reach it and we choose who stops first.
 *
 * `ended` resolves to how it ended, `died` rejects when it does; `output()` is what it has printed to pipes.
 */
function launch(name, command, args, options) {
  const child = spawn(command, args, { ...options, detached: true })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text) => {
      // The end is enough for a look at what went wrong.
      output = (output + text).slice(-8192)
    })
  }
  const ended = new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, signal) => resolve(signal ?? `exit code ${code}`))
  })
  const died = ended.then((how) => {
    throw new Error(`${output}${name} ended by itself (${how}).`)
  })
  // It ends in any case; whether that is bad is for the one who waits for it.
  died.catch(() => {})
  return {
    name,
    child,
    ended,
    died,
    output: () => output,
    async stop() {
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT)
      await ended
      clearTimeout(timer)
    },
  }
}

/** Rejects once we are to stop. */
async function stopped(signal) {
  if (!signal.aborted) await once(signal, 'abort')
  signal.throwIfAborted()
}

/** Resolves once a request through Mongrel2 gets a good answer. */
async function answered(url, signal) {
  const deadline = AbortSignal.timeout(START_TIMEOUT)
  let last
  while (!deadline.aborted) {
    signal.throwIfAborted()
    try {
      const response = await fetch(url, { signal: AbortSignal.any([signal, deadline, AbortSignal.timeout(2000)]) })
      await response.arrayBuffer()
      if (response.ok) return
      last = `the last one was ${response.status}`
    } catch (error) {
      last = `the last error was: ${error.cause?.message ?? error.message}`
    }
    await sleep(50)
  }
  throw new Error(`No good answer from ${url} within ${START_TIMEOUT / 1000} s; ${last}.`)
}
