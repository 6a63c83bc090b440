// npm start [-- [EXAMPLE] [--port N]]
//
// Starts Mongrel2 and an example behind it, hello-hono unless told otherwise, until Ctrl-C. Mongrel2 gets examples/mongrel2.conf, or the
// example's own mongrel2.conf; an example with an nginx.conf gets nginx in front as well.
// Where Mongrel2 cannot be installed, the embedded front takes its place, except for examples with a mongrel2.conf of their own.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import util from 'node:util'
import { checkNode, installPrograms, root, setUp } from './setup.mjs'

/** How long the first answer may take, in milliseconds. */
const START_TIMEOUT = 30_000
/** How long a program may take to stop before it is killed, in milliseconds: more than `close()` gives open requests. */
const STOP_TIMEOUT = 12_000
/** The user and group `nobody`, as Linux numbers them. */
const NOBODY = 65534
const GET_NGINX = `This example needs the program nginx on the PATH.
  Debian, Ubuntu:  sudo apt-get install nginx`

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
  const { example, wanted } = await readArguments()
  const ownConf = await readOptional(join(dirname(example), 'mongrel2.conf'))
  const isStandard = ownConf === undefined || dirname(example) === 'examples'
  const conf = ownConf ?? (await fs.readFile(join(root, 'examples/mongrel2.conf'), 'utf8'))
  const nginxConf = await readOptional(join(dirname(example), 'nginx.conf'))
  const host = valueIn(conf, /\bbind_addr="(.*?)"/)
  const port = await reserve(wanted ?? valueIn(conf, /\bport=(\d+)/), host)
  // Behind nginx, which has the port that was asked for, any will do.
  const mongrel2Port = nginxConf === undefined ? port : await reserve(0, host)
  const missing = await setUp({ signal, mongrel2Optional: isStandard })
  if (nginxConf !== undefined) await installPrograms({ nginx: 'nginx' }, GET_NGINX, { signal })
  signal.throwIfAborted()
  if (missing !== undefined)
    console.log(`${missing}\n\nUntil then the embedded front takes its place, for development.`)

  // Everything that Mongrel2 writes is in a directory of its own: the checkout stays clean and need not be
  // writable, and two of us do not meet. The ZeroMQ addresses move there too, as tcp has only one port 9999.
  // There since the setup.
  const { guardChild, guardDirectory } = await import('../dist/src/runtime/process/orphan-guard.js')
  const directory = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'mongrel2-fetch-')))
  const removeDirectory = guardDirectory(directory)
  const programs = []
  try {
    const endpoints = {
      ZEROMQ: `ipc://${directory}/run/9999,ipc://${directory}/run/9998`,
      ZEROMQ_TNET: `ipc://${directory}/run/9997,ipc://${directory}/run/9996`,
      JOBS: `ipc://${directory}/run/jobs`,
      CLUSTER: `tcp://127.0.0.1:${await reserve(0, '127.0.0.1')}`,
    }
    const front =
      missing === undefined
        ? await launchMongrel2(directory, conf, mongrel2Port)
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
    const nginx = nginxConf === undefined ? [] : [await launchNginx(directory, nginxConf, { port, mongrel2Port })]
    programs.push(...nginx)
    for (const { child } of nginx) guardChild(child, 'TERM')

    const url = `http://${host}:${port}/`
    const ended = Promise.race([stopped(signal), ...programs.map(({ died }) => died)])
    await Promise.race([ended, answered(url, signal)])
    const through = [...nginx, front].map(({ name }) => name).join(' and ')
    console.log(`${app.name} answers at ${url} through ${through}. Ctrl-C stops ${nginx.length > 0 ? 'all' : 'both'}.`)
    await ended
  } finally {
    // The last first: the example answers what it has received, and for that it needs Mongrel2.
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

async function launchNginx(directory, conf, { port, mongrel2Port }) {
  const text = conf
    .replace(/\blisten 127\.0\.0\.1:\d+/, `listen 127.0.0.1:${port}`)
    .replaceAll('127.0.0.1:6767', `127.0.0.1:${mongrel2Port}`)
  await fs.writeFile(join(directory, 'nginx.conf'), text)
  // Started as root, its workers are somebody else: the owner of the directory.
  const user = process.getuid?.() === 0 ? ' user nobody nogroup;' : ''
  return launch('nginx', 'nginx', ['-p', directory, '-c', 'nginx.conf', '-e', 'stderr', '-g', `daemon off;${user}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
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
  if (match === null) throw new Error(`Expected ${pattern} in mongrel2.conf.`)
  return match[1]
}

async function readOptional(file) {
  return await fs.readFile(join(root, file), 'utf8').catch(() => undefined)
}

/** The example's file, and the port that was asked for, if any. */
async function readArguments() {
  const examples = await readExamples()
  const usage = `Usage: npm start [-- [EXAMPLE] [--port N]], where EXAMPLE is one of ${[...examples.keys()].join(', ')}.`
  try {
    const { values, positionals } = util.parseArgs({ options: { port: { type: 'string' } }, allowPositionals: true })
    const [example = 'hello-hono', ...rest] = positionals
    const port = values.port ?? process.env.PORT
    if (rest.length > 0) throw new Error(`There can be one example only, and ${positionals.length} were given.`)
    const file = examples.get(example)
    if (file === undefined) throw new Error(`There is no example '${example}'.`)
    if (port !== undefined && (!/^\d{1,5}$/.test(port) || port > 65535))
      throw new Error(`The port must be 0 to 65535, and '${port}' is not.`)
    return { example: file, wanted: port }
  } catch (error) {
    throw new Error(`${error.message}\n${usage}`)
  }
}

/** The examples' files by their names: NAME.ts, or NAME/server.ts of one with several files. */
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
  const probe = createServer().listen(Number(port), host)
  try {
    await once(probe, 'listening')
  } catch (error) {
    const why = { EADDRINUSE: 'is taken by another program', EACCES: 'needs rights that this user does not have' }
    throw new Error(`Port ${port} of ${host} ${why[error.code] ?? `cannot be had: ${error.message}`}.
Choose another with: npm start -- --port ${port < 1024 ? 6767 : Number(port) + 1}`)
  }
  const found = probe.address().port
  probe.close()
  await once(probe, 'close')
  return found
}

/** Makes the directory that Mongrel2 runs in, with its configuration loaded. */
async function prepare(directory, conf) {
  for (const name of ['run', 'logs', 'tmp']) await fs.mkdir(join(directory, name))
  // There since the setup.
  const { loadConfigText } = await import('../dist/src/mongrel2/load-config.js')
  await loadConfigText(directory, conf)
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
