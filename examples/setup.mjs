// Installs what `npm start`, `npm test` and `npm pack` need and is not there. Plain JavaScript: it runs before node_modules exists.

import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { showProgress } from './progress.mjs'

/** The checkout. */
export const root = fileURLToPath(new URL('..', import.meta.url))

const GET_MONGREL2 = `Mongrel2 is needed: the programs mongrel2 and m2sh must be on the PATH.
  Debian, Ubuntu:  sudo apt-get install mongrel2-core
  elsewhere:       build it from source (https://github.com/mongrel2/mongrel2),
                   or run this in a container with Debian and Node`

/** Milliseconds between two counts of the packages that are installed. */
const COUNT_EVERY = 500

/** It waits for another apt-get, and says on its stdout how far it is. */
const APT_OPTIONS = ['-o', 'DPkg::Lock::Timeout=120', '-o', 'APT::Status-Fd=1']

/**
 * Makes a fresh clone ready: packages, Mongrel2, dist/. Does nothing where nothing is missing.
 *
 * @param {{ signal?: AbortSignal, mongrel2Optional?: boolean }} options `signal` ends it half-way.
 * @returns {Promise<string | undefined>} Why there is no Mongrel2, where there need not be one.
 * @throws {Error} With a message for the user, when something cannot be had.
 */
export async function setUp({ signal, mongrel2Optional = false } = {}) {
  checkNode()
  await installPackages(signal)
  const missing = await installMongrel2(signal).catch((error) => {
    if (!mongrel2Optional || signal?.aborted) throw error
    return error.message
  })
  await build(signal)
  return missing
}

/** Throws unless this Node is one that package.json allows. */
export function checkNode() {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const floor = engines.node.replace('>=', '')
  if (compareVersions(process.versions.node, floor) < 0) {
    throw new Error(`Node ${floor} or newer is needed, and this is ${process.versions.node} (${process.execPath}).`)
  }
}

function compareVersions(a, b) {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number))
  const at = left.findIndex((part, i) => part !== right[i])
  return at === -1 ? 0 : left[at] - right[at]
}

/** Runs `npm ci` unless it was run after the last change of the lock file. `npm pack` calls it, too. */
export async function installPackages(signal) {
  // npm writes this file last, so a newer lock file means another branch, or an install that was cut short.
  if (modified('node_modules/.package-lock.json') >= modified('package-lock.json')) return
  const progress = showProgress('Installing packages (npm ci)')
  const places = packagePlaces()
  const timer = setInterval(() => {
    const there = places.filter((place) => existsSync(join(root, place, 'package.json'))).length
    progress.at(there / places.length, `${there} of ${places.length} packages`)
  }, COUNT_EVERY)
  try {
    // npm gives its scripts its own options, so `npm pack --dry-run` would install nothing.
    await runProgram('npm', ['ci', '--include=dev', '--no-dry-run', '--no-audit', '--no-fund'], { signal })
  } finally {
    clearInterval(timer)
    progress.end()
  }
}

/** The directories of the packages that npm installs on this machine. */
function packagePlaces() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  const fits = (list, own) => list === undefined || list.includes(own)
  return Object.entries(packages)
    .filter(([place, { os, cpu }]) => place !== '' && fits(os, process.platform) && fits(cpu, process.arch))
    .map(([place]) => place)
}

async function installMongrel2(signal) {
  await installPrograms({ mongrel2: 'mongrel2-core', m2sh: 'mongrel2-core' }, GET_MONGREL2, { signal })
}

/**
 * Installs the Debian packages of those programs that are not on the PATH, with sudo where we are not root.
 *
 * @param {Record<string, string>} programs The packages by their programs.
 * @param {string} advice What to tell the user where it cannot be done.
 * @param {{ signal?: AbortSignal }} options `signal` ends it half-way.
 * @throws {Error} With the advice.
 */
export async function installPrograms(programs, advice, { signal } = {}) {
  const missing = () => Object.keys(programs).filter((name) => !isProgram(name))
  const packages = [...new Set(missing().map((name) => programs[name]))]
  if (packages.length === 0) return
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  if (![...sudo.slice(0, 1), 'apt-get'].every(isProgram)) throw new Error(advice)
  const progress = showProgress(`Installing ${packages.join(', ')} (apt-get install)`)
  const apt = (...args) => {
    const [command, ...rest] = [...sudo, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args]
    return runProgram(command, rest, { signal, onLine: (line) => showAptStatus(line, progress) })
  }
  try {
    // A list of somebody else's that cannot be updated is no reason to stop: whether the package is there shows next.
    await apt('update').catch((error) => signal?.aborted || console.log(error.message))
    await apt(...APT_OPTIONS, 'install', '-y', '--no-install-recommends', ...packages)
  } catch (error) {
    throw new Error(`${error.message}\n${advice}`)
  } finally {
    progress.end()
  }
  if (missing().length > 0) throw new Error(advice)
}

/** Shows a line of apt's `APT::Status-Fd`, of downloads before installation; false for other lines. */
function showAptStatus(line, progress) {
  const [, kind, percent, what] = /^(dl|pm)status:[^:]*:([\d.]+):(.*)/.exec(line) ?? []
  if (kind === undefined) return false
  progress.at((Number(percent) / 100 + (kind === 'dl' ? 0 : 1)) / 2, what)
  return true
}

async function build(signal) {
  // Only when stale: a rebuild would pull dist/ from under a program that is just starting.
  const sources = ['src', 'adapters', 'tsconfig.json', 'tsconfig.build.json', 'rolldown.config.ts', 'package.json']
  if (modified('dist/src/index.js') >= Math.max(...sources.map(modified))) return
  const progress = showProgress('Building dist (npm run build)')
  try {
    await runProgram('npm', ['run', 'build'], { signal })
  } finally {
    progress.end()
  }
}

/** When a file was last written, or the newest in a directory, in milliseconds; -1 if there is none. */
function modified(path) {
  const stats = statSync(join(root, path), { throwIfNoEntry: false })
  if (stats === undefined) return -1
  const entries = stats.isDirectory() ? readdirSync(join(root, path)) : []
  return Math.max(stats.mtimeMs, ...entries.map((entry) => modified(join(path, entry))))
}

/** Whether the PATH has a program of this name. */
function isProgram(name) {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/**
 * Runs a program in the checkout to its end, without a terminal to ask questions on. What it prints is shown if it fails.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ signal?: AbortSignal, onLine?: (line: string) => boolean }} options Lines for which `onLine` returns true are not shown.
 * @throws {Error} If it cannot be started or ends with anything but 0; the message has its output.
 */
export function runProgram(command, args, { signal, onLine = () => false }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], signal })
    let output = ''
    for (const input of [child.stdout, child.stderr]) {
      createInterface({ input }).on('line', (line) => {
        if (!onLine(line)) output += `${line}\n`
      })
    }
    child.on('error', (error) => reject(new Error(`${command} could not be run: ${error.message}`)))
    child.on('close', (code, killed) => {
      if (code === 0) resolve()
      else reject(new Error(`${output}${[command, ...args].join(' ')} failed (${killed ?? `exit code ${code}`}).`))
    })
  })
}
