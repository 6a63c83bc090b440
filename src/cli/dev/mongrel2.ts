import { type ChildProcess, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { chown, mkdir, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Certificate, readCertificate } from '../../gateway/http/certificate.ts'
import type { MessageHandlers } from '../../message-socket/types.ts'
import { loadMongrel2Config } from '../../mongrel2/load-config.ts'
import type { HandlerConfig, Mongrel2Config } from '../../mongrel2/render-config.ts'
import type { Logger } from '../../runtime/log.ts'
import { guardChild } from '../../runtime/process/orphan-guard.ts'
import { TemporaryDirectory } from '../../runtime/process/temporary-directory.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import type { CommandSettings } from '../options/settings.ts'
import { type GivenCertificate, renewCertificate } from '../shared/certificate.ts'
import { CommandError } from '../shared/exit-code.ts'
import { certificateIn } from './certificate.ts'
import { cannotListen, type DevAddress, type DevFront } from './front.ts'
import { RefusedRequests } from './refused-requests.ts'

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
  #unfollow: (() => void) | undefined
  /** The certificate, unless it is of our own making. */
  #given: GivenCertificate | undefined
  #installed: Certificate | undefined

  async start(settings: CommandSettings): Promise<number> {
    const { listen, tls, logger } = settings
    const { messages } = settings.options
    const certificate = tls && (await certificateIn(this.chroot, tls))
    const port = await reserve(settings)
    for (const name of ['run', 'logs', 'tmp']) await mkdir(join(this.chroot, name))
    const secure = certificate !== undefined
    if (secure) await this.#install(await readCertificate(certificate))
    if (tls !== 'self-signed') this.#given = tls
    await loadMongrel2Config(this.chroot, configuration({ port, listen }, messages, secure)).catch((error: Error) => {
      throw new CommandError('front', error.message)
    })
    if (process.getuid?.() === 0) {
      for (const name of ['run', 'logs', 'tmp', '.']) await chown(join(this.chroot, name), NOBODY, NOBODY)
    }
    await this.#run({ port, listen }, new RefusedRequests(logger))
    return port
  }

  /** Mongrel2 looks for certificates by the names that clients ask for, and again after SIGHUP; that for other clients it reads at its start. */
  async renewCertificate(logger: Logger): Promise<void> {
    const given = this.#given
    if (given === undefined) return
    const mongrel2 = {
      renewCertificate: async () => {
        if (await this.#install(await readCertificate(given))) this.#child?.kill('SIGHUP')
      },
    }
    await renewCertificate(mongrel2, given, logger)
  }

  /** Writes a certificate where Mongrel2 looks for it; returns whether it is another one than before. */
  async #install({ cert, key }: Certificate): Promise<boolean> {
    if (this.#installed?.cert.equals(cert) && this.#installed.key.equals(key)) return false
    this.#installed = { cert, key }
    for (const name of [UUID, ...namesIn(cert)]) {
      for (const [path, bytes] of [
        [join(this.chroot, `${name}.key`), key],
        [join(this.chroot, `${name}.crt`), cert],
      ] as const) {
        await writeFile(path, bytes, { mode: 0o600 })
        if (process.getuid?.() === 0) await chown(path, NOBODY, NOBODY)
      }
    }
    return true
  }

  async stop(): Promise<void> {
    this.#unfollow?.()
    const child = this.#child
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit')
      child.kill('SIGTERM')
      await exit
    }
    this.#directory.remove()
  }

  async #run(at: DevAddress, refused: RefusedRequests): Promise<void> {
    // In a session of its own, so that Ctrl-C does not reach it before the app has answered.
    const child = spawn('mongrel2', ['config.sqlite', UUID], {
      cwd: this.chroot,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    this.#child = child
    guardChild(child, 'KILL')
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-8192)
        refused.read(text)
      })
    }
    this.#unfollow = refused.follow(join(this.chroot, 'logs', 'error.log'))
    const ended = (how: string) =>
      this.#death.reject(new CommandError('front', `Mongrel2 ended by itself (${how}):\n${output}`))
    child.on('error', (error) => ended(error.message))
    child.on('close', (code, signal) => ended(signal ?? `exit code ${code}`))
    const deadline = AbortSignal.timeout(START_TIMEOUT)
    while (!(await Promise.race([accepts(at), this.died]))) {
      if (deadline.aborted) throw new CommandError('front', `Mongrel2 does not listen:\n${output}`)
      await sleep(POLL_TIME)
    }
  }
}

/** The names of a certificate's hosts, as Mongrel2 has them in names of files: `_.example.org` for `*.example.org`. */
function namesIn(cert: Buffer): string[] {
  const names = new X509Certificate(cert).subjectAltName?.matchAll(/(?<=DNS:)[\w*][\w.-]*/g) ?? []
  return Array.from(names, ([name]) => name.replace(/^\*/, '_'))
}

function configuration(
  { port, listen: bindAddr }: DevAddress,
  messages: MessageHandlers | undefined,
  tls: boolean,
): Mongrel2Config {
  const app: HandlerConfig = {
    sendSpec: 'ipc://run/send',
    recvSpec: 'ipc://run/recv',
    sendIdent: '34f9ceee-cd52-4b7f-b197-88bf2f0ec378',
    protocol: 'tnetstring',
    rawPayload: messages?.rawPayload ?? false,
  }
  // A route is a prefix of what clients send: `@` matches every JSON message, `<` every XML message. With `@`, a client can forge a notice, but
  // only for its own connection.
  const routes = {
    '/': app,
    ...(messages?.json !== undefined && { '@': app }),
    ...(messages?.xml !== undefined && { '<': app }),
  }
  const hosts = [{ name: 'localhost', routes }]
  return {
    servers: [{ uuid: UUID, name: 'dev', bindAddr, port, tls, hosts }],
    settings: {
      'server.daemonize': false,
      'upload.temp_store': 'tmp/mongrel2.upload.XXXXXX',
      'limits.buffer_size': 16_384,
      certdir: './',
    },
  }
}

/** Finds a free port for 0, which Mongrel2 does not support; checks that any other is free, since Mongrel2's own error is long. */
async function reserve(at: DevAddress): Promise<number> {
  const probe = createServer().listen(at.port, at.listen)
  try {
    await once(probe, 'listening')
  } catch (error) {
    throw cannotListen(at, error)
  }
  const { port: free } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return free
}

function accepts({ port, listen }: DevAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, listen)
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
