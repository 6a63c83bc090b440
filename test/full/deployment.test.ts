// The files of docs/deployment.md, and the settings of docs/security.md, used in a temporary directory in place of /srv.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { guardChild } from '../../src/runtime/process/orphan-guard.ts'
import { MAIN, Workplace } from '../support/command.ts'
import { freePort } from '../support/free-port.ts'

const PAGE = readFileSync('docs/deployment.md', 'utf8')
/** The user `nobody`: Mongrel2 goes on as the owner of its directory. */
const NOBODY = 65_534

let srv: string
let chroot: string
let place: Workplace

beforeEach(() => {
  srv = mkdtempSync(join(tmpdir(), 'srv-'))
  chroot = join(srv, 'mongrel2')
  for (const part of ['', 'run', 'logs', 'tmp', 'static']) {
    mkdirSync(join(chroot, part))
    if (process.getuid?.() === 0) chownSync(join(chroot, part), NOBODY, NOBODY)
  }
  place = new Workplace({
    'app.ts': 'export default async (request) => new Response(String((await request.text()).length))',
  })
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
  rmSync(srv, { recursive: true, force: true })
})

/** The only block of the page that contains a text, with /srv replaced by the temporary directory. */
function block(text: string): string {
  const blocks = [...PAGE.matchAll(/^```\w+\n(.*?)^```$/gms)].map(([, code = '']) => code)
  const [found = '', ...more] = blocks.filter((code) => code.includes(text))
  expect([found === '', more]).toEqual([false, []])
  return found.replaceAll('/srv/', `${srv}/`)
}

/** The arguments of the program that a unit starts. */
function argumentsOf(unit: string): string[] {
  return (/^ExecStart=(.*)$/m.exec(unit)?.[1] ?? '').split(' ').slice(1)
}

const has = (program: string) => (process.env.PATH ?? '').split(':').some((path) => existsSync(join(path, program)))

it.skipIf(!has('systemd-analyze')).each(['Description=Mongrel2', 'Description=The app'])(
  'systemd accepts the unit with %s',
  (text) => {
    mkdirSync(join(srv, 'app/node_modules/.bin'), { recursive: true })
    writeFileSync(join(srv, 'app/node_modules/.bin/mongrel2-fetch'), '#!/bin/sh\n', { mode: 0o755 })
    const unit = join(srv, 'checked.service')
    writeFileSync(unit, block(text).replace('User=mongrel2', 'User=daemon').replace('=/usr/bin/mongrel2', '=/bin/true'))
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8' })
    expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: '' })
  },
)

const SETTINGS = /^settings = \{.*?^\}$/ms

it.each(['docs/deployment.md', 'docs/security.md'])(
  'Mongrel2 and the app find each other, uploads and log files with the settings of %s',
  async (page) => {
    const port = await freePort()
    const [settings = ''] = SETTINGS.exec(readFileSync(page, 'utf8')) ?? []
    expect(settings).toContain('"server.daemonize": 0') // a daemon would outlive the test
    const configuration = block('main = Server(')
      .replace('port=80,', `port=${port},`)
      .replace('0.0.0.0', '127.0.0.1')
      .replace(SETTINGS, settings)
    writeFileSync(join(chroot, 'mongrel2.conf'), configuration)
    const env = { ...process.env, LOGNAME: 'test' }
    execFileSync('m2sh', ['load', '-config', 'mongrel2.conf', '-db', 'config.sqlite'], {
      cwd: chroot,
      env,
      stdio: 'pipe',
    })
    const mongrel2 = spawn('mongrel2', argumentsOf(block('Description=Mongrel2')), { cwd: chroot, stdio: 'ignore' })
    guardChild(mongrel2, 'KILL')
    try {
      const accessLog = join(srv, 'access.log')
      const args = [...argumentsOf(block('Description=The app')), '--access-log', accessLog]
      const run = place.start([process.execPath, MAIN, ...args])
      const [, pid] = await run.prints(/, process (\d+)$/m)
      await run.prints(/^mongrel2-fetch serves/m)
      const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: 'x'.repeat(100_000) })
      expect(await response.text()).toBe('100000')
      await expect.poll(() => readdirSync(join(chroot, 'tmp'))).toEqual([])

      const log = () => {
        const path = join(chroot, 'logs/access.log')
        return existsSync(path) ? readFileSync(path, 'utf8') : ''
      }
      await expect.poll(log).toContain('POST')
      if (has('logrotate')) {
        const file = join(srv, 'rotate')
        writeFileSync(file, block('logs/*.log {'), { mode: 0o644 })
        execFileSync('logrotate', ['--force', '--state', join(srv, 'state'), file], { stdio: 'pipe' })
        // Until Mongrel2 has seen the signal, it writes to the old file.
        const askAndRead = async () => {
          await (await fetch(`http://127.0.0.1:${port}/static/none`)).text()
          return log()
        }
        await expect.poll(askAndRead).toContain('/static/none')
        expect(log()).not.toContain('POST')

        const ofApp = block('app/access.log {')
        writeFileSync(file, ofApp.replace('/var/log/app', srv).replace('systemctl reload app', `kill -HUP ${pid}`))
        execFileSync('logrotate', ['--force', '--state', join(srv, 'state'), file], { stdio: 'pipe' })
        await expect.poll(() => existsSync(accessLog)).toBe(true)
        expect(readFileSync(`${accessLog}.1`, 'utf8')).toMatch(/^127\.0\.0\.1 - - \[.*\] "POST \/ HTTP\/1\.1" 200 \d+ /)
        await (await fetch(`http://127.0.0.1:${port}/`, { method: 'PUT', body: 'x' })).text()
        await expect.poll(() => readFileSync(accessLog, 'utf8')).toMatch(/^\S+ - - .* "PUT \/ HTTP\/1\.1" 200 .*\n$/)
      }
      run.signal('SIGTERM')
      expect(await run.ended).toBe(0)
    } finally {
      mongrel2.kill()
      await once(mongrel2, 'exit')
    }
  },
)
