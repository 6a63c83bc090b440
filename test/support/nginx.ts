import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { guardChild, guardDirectory } from '../../src/runtime/process/orphan-guard.ts'

/** A running nginx. */
export interface Nginx extends AsyncDisposable {
  readonly pid: number
  readonly origin: string
}

/**
 * Starts nginx with one worker and without a log of requests.
 *
 * @param directory Removed with nginx.
 * @param port Where it answers; its `/` has to be a 200.
 * @param http The content of its block `http`.
 */
export async function startNginx(directory: string, port: number, http: string): Promise<Nginx> {
  await writeFile(
    join(directory, 'nginx.conf'),
    `daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path client_body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
${http}}
`,
  )
  const child = spawn('nginx', ['-p', directory, '-c', 'nginx.conf', '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  guardChild(child, 'TERM')
  const removeDirectory = guardDirectory(directory)
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const exit = once(child, 'exit')
  const nginx: Nginx = {
    pid: child.pid ?? 0,
    origin: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await exit
      removeDirectory()
    },
  }
  while (!(await answers(nginx.origin))) {
    if (child.exitCode !== null || child.pid === undefined) throw new Error(`nginx ended: ${errors}`)
    await sleep(10)
  }
  return nginx
}

/** Makes a directory for nginx and the server behind it. */
export async function createNginxDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'nginx-'))
  await chmod(directory, 0o755) // started as root, its worker is somebody else
  return directory
}

async function answers(url: string): Promise<boolean> {
  const response = await fetch(url).catch(() => undefined)
  await response?.arrayBuffer()
  return response?.ok === true
}
