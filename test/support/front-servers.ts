import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { guardChild, guardDirectory } from '../../src/runtime/process/orphan-guard.ts'
import { createNginxDirectory } from './nginx.ts'

// Apache and lighttpd of Debian in the foreground; nginx: nginx.ts.

/** A running front server. */
export interface FrontServer extends AsyncDisposable {
  readonly pid: number
}

const APACHE_MODULES = ['mpm_event', 'authz_core', 'proxy', 'proxy_http', 'proxy_uwsgi', 'proxy_fcgi', 'proxy_scgi']

/** @param configuration With its `Listen`. The target `ready` has to be a 2xx once it serves. */
export async function startApache(configuration: string, ready: string): Promise<FrontServer> {
  return await start('apache2', '-DFOREGROUND', ready, (directory) => [
    ...APACHE_MODULES.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
    `ServerRoot ${directory}`,
    `DefaultRuntimeDir ${directory}`,
    `PidFile ${directory}/pid`,
    `ErrorLog ${directory}/error.log`,
    'ServerName localhost',
    'User www-data',
    'Group www-data',
    `DocumentRoot ${directory}`,
    configuration,
  ])
}

/** @param port Where it listens; the configuration may add more. */
export async function startLighttpd(configuration: string, port: number, ready: string): Promise<FrontServer> {
  return await start('lighttpd', '-D', ready, (directory) => [
    `server.document-root = "${directory}"`,
    'server.bind = "127.0.0.1"',
    `server.port = ${port}`,
    `server.upload-dirs = ("${directory}/uploads")`,
    configuration,
  ])
}

async function start(
  command: string,
  foreground: string,
  ready: string,
  lines: (directory: string) => string[],
): Promise<FrontServer> {
  const directory = await createNginxDirectory()
  const removeDirectory = guardDirectory(directory)
  mkdirSync(join(directory, 'uploads'))
  chmodSync(join(directory, 'uploads'), 0o777) // started as root, its worker is somebody else
  const file = join(directory, 'configuration')
  writeFileSync(file, lines(directory).join('\n'))
  const child = spawn(command, [foreground, '-f', file], { stdio: ['ignore', 'ignore', 'pipe'] })
  guardChild(child, 'TERM')
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const exit = once(child, 'exit')
  while ((await fetch(ready).catch(() => undefined))?.ok !== true) {
    if (child.exitCode !== null || child.pid === undefined) throw new Error(`${command} ended: ${errors}`)
    await sleep(20)
  }
  return {
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await exit
      removeDirectory()
    },
  }
}
