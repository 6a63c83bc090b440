import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, copyFile, mkdir, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MessageHandlers } from '../../message-socket/types.ts'
import { guardChild } from '../../runtime/orphan-guard.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { TemporaryDirectory } from '../../runtime/temporary-directory.ts'
import type { TlsSettings } from '../options/settings.ts'
import { CommandError } from '../shared/exit-code.ts'
import { certificateIn } from './certificate.ts'
import { cannotListen, DEV_ADDRESS, type DevFront } from './front.ts'

/** The user and group `nobody` of Linux: Mongrel2, started as root, changes to the owner of its directory. */
const NOBODY = 65_534
/** Time for Mongrel2 to start listening, in milliseconds. */
const START_TIMEOUT = 10_000
const POLL_TIME = 20
const UUID = 'a1b0d8e4-66c0-4a5e-9c7a-2f6d10c7fd34'

/** A Mongrel2 in a temporary directory, with one Handler for everything. */
export class DevMongrel2 implements DevFront {
  readonly #directory = new TemporaryDirectory()
  readonly #death: Deferred<never> = deferred()
  readonly name = 'Mongrel2'
  readonly chroot: string = this.#directory.path
  readonly endpoint: string = ['send', 'recv', 'control'].map((name) => `ipc://${this.chroot}/run/${name}`).join(',')
  readonly died: Promise<never> = this.#death.promise
  #child: ChildProcess | undefined

  async start(port: number, messages?: MessageHandlers, tls?: TlsSettings): Promise<string> {
    const certificate = tls && (await certificateIn(this.chroot, tls))
    const free = await reserve(port)
    for (const name of ['run', 'logs', 'tmp']) await mkdir(join(this.chroot, name))
    const secure = certificate !== undefined
    if (secure) {
      const key = join(this.chroot, `${UUID}.key`)
      await copyFile(certificate.cert, join(this.chroot, `${UUID}.crt`))
      await copyFile(certificate.key, key)
      await chmod(key, 0o600)
    }
    await writeFile(join(this.chroot, 'mongrel2.conf'), configuration(free, messages, secure))
    await this.#load()
    if (process.getuid?.() === 0) {
      for (const name of ['run', 'logs', 'tmp', '.']) await chown(join(this.chroot, name), NOBODY, NOBODY)
    }
    await this.#run(free)
    return `http${secure ? 's' : ''}://${DEV_ADDRESS}:${free}/`
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit')
      child.kill('SIGTERM')
      await exit
    }
    this.#directory.remove()
  }

  async #load(): Promise<void> {
    const m2sh = this.#launch('m2sh', ['load', '-config', 'mongrel2.conf', '-db', 'config.sqlite'])
    const how = await m2sh.ended
    // m2sh exits with 0 even if it cannot read the file, and logs an error for raw_payload, which it loads.
    if (how !== 'exit code 0' || /\[ERROR\](?!.*Invalid type given)/.test(m2sh.output())) {
      throw new CommandError('front', `m2sh could not load the configuration (${how}):\n${m2sh.output()}`)
    }
  }

  async #run(port: number): Promise<void> {
    const mongrel2 = this.#launch('mongrel2', ['config.sqlite', UUID])
    this.#child = mongrel2.child
    guardChild(mongrel2.child, 'KILL')
    void mongrel2.ended.then((how) =>
      this.#death.reject(new CommandError('front', `Mongrel2 ended by itself (${how}):\n${mongrel2.output()}`)),
    )
    const deadline = AbortSignal.timeout(START_TIMEOUT)
    while (!(await Promise.race([accepts(port), this.died]))) {
      if (deadline.aborted) throw new CommandError('front', `Mongrel2 does not listen:\n${mongrel2.output()}`)
      await sleep(POLL_TIME)
    }
  }

  /** Starts a program in a session of its own, so that Ctrl-C does not reach it before the app has answered. */
  #launch(command: string, args: string[]): { child: ChildProcess; ended: Promise<string>; output: () => string } {
    const child = spawn(command, args, {
      cwd: this.chroot,
      // m2sh logs this name.
      env: { ...process.env, LOGNAME: process.env.LOGNAME ?? 'mongrel2-fetch' },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-8192)
      })
    }
    const ended = new Promise<string>((resolve) => {
      child.on('error', (error) => resolve(error.message))
      child.on('close', (code, signal) => resolve(signal ?? `exit code ${code}`))
    })
    return { child, ended, output: () => output }
  }
}

function configuration(port: number, messages: MessageHandlers | undefined, secure: boolean): string {
  // A route is a prefix of what clients send: `@` matches every JSON message, `<` every XML message. With `@`, a client can forge a notice, but
  // only for its own connection.
  const routes = ['/', ...(messages?.json === undefined ? [] : ['@']), ...(messages?.xml === undefined ? [] : ['<'])]
  const rawPayload = messages?.rawPayload === true ? ', raw_payload=1' : ''
  return `app = Handler(send_spec='ipc://run/send', send_ident='34f9ceee-cd52-4b7f-b197-88bf2f0ec378',
  recv_spec='ipc://run/recv', recv_ident='', protocol='tnetstring'${rawPayload})
main = Server(uuid="${UUID}", name="dev", chroot="./", access_log="/logs/access.log", error_log="/logs/error.log",
  pid_file="/run/mongrel2.pid", default_host="localhost", bind_addr="${DEV_ADDRESS}", port=${port}, use_ssl=${secure ? 1 : 0},
  hosts=[Host(name="localhost", routes={${routes.map((route) => `'${route}': app`).join(', ')}})])
settings = {"server.daemonize": 0, "upload.temp_store": "tmp/mongrel2.upload.XXXXXX", "limits.buffer_size": 16384, "certdir": "./"}
servers = [main]
`
}

/** Finds a free port for 0, which Mongrel2 does not support; checks that any other is free, since Mongrel2's own error is long. */
async function reserve(port: number): Promise<number> {
  const probe = createServer().listen(port, DEV_ADDRESS)
  try {
    await once(probe, 'listening')
  } catch (error) {
    throw cannotListen(port, error)
  }
  const { port: free } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return free
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, DEV_ADDRESS)
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
