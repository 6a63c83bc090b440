import { isIP } from 'node:net'
import { createFront, type Front } from '../../gateway/index.ts'
import type { Logger } from '../../runtime/log.ts'
import { TemporaryDirectory } from '../../runtime/process/temporary-directory.ts'
import type { CommandSettings } from '../options/settings.ts'
import { type GivenCertificate, renewCertificate } from '../shared/certificate.ts'
import { CommandError } from '../shared/exit-code.ts'
import { certificateIn } from './certificate.ts'

/** The server of `dev` between browsers and the app. */
export interface DevFront {
  /** Its name in the output. */
  readonly name: string
  /** The Handler that the app serves, as the option `zeromq` takes it. */
  readonly endpoint: string
  /** The app's `chroot`. */
  readonly chroot: string
  /**
   * Begins to listen for browsers, at any free port for 0; returns the port. Throws CommandError `front`.
   * The embedded front does not support clients that send JSON or XML.
   */
  start(settings: CommandSettings): Promise<number>
  /** Reads a given certificate anew, as far as the front can do that while it runs, and logs how that went. */
  renewCertificate(logger: Logger): Promise<void>
  /** Rejects with a `CommandError` `front` when it ends by itself. */
  readonly died: Promise<never>
  stop(): Promise<void>
}

/** Where a front listens for browsers. */
export type DevAddress = Pick<CommandSettings, 'port' | 'listen'>

/** The URL of an IP address; that of an address for all is of this machine alone. */
export function urlOf(scheme: string, listen: string, port: number): string {
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[listen] ?? listen
  return `${scheme}://${isIP(host) === 6 ? `[${host}]` : host}:${port}/`
}

/** The error of a front that cannot listen. */
export function cannotListen({ port, listen }: DevAddress, error: unknown): CommandError {
  const { code, message } = error as NodeJS.ErrnoException
  const why = code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be used: ${message}`
  return new CommandError('front', `port ${port} of ${listen} ${why}; choose another with --port, or 0 for any`)
}

/** The embedded stand-in for Mongrel2, where that is not installed. */
export class EmbeddedFront implements DevFront {
  readonly #directory = new TemporaryDirectory()
  readonly name = 'the embedded front'
  readonly chroot: string = this.#directory.path
  readonly endpoint: string = `inproc://${this.chroot},ipc://${this.chroot}/recv`
  /** Never settles: the front is part of this process. */
  readonly died = new Promise<never>(() => {})
  #front: Front | undefined
  #certificate: GivenCertificate | undefined

  async start(settings: CommandSettings): Promise<number> {
    const { port, listen: host, tls } = settings
    const files = tls && (await certificateIn(this.chroot, tls))
    this.#certificate = files
    const secure = files && { tlsCert: files.cert, tlsKey: files.key }
    const [sendSpec = '', recvSpec = ''] = this.endpoint.split(',')
    try {
      this.#front = await createFront({
        port,
        host,
        routes: [{ path: '/', sendSpec, recvSpec }],
        ...secure,
      })
    } catch (error) {
      throw cannotListen(settings, error)
    }
    return this.#front.address.port
  }

  async renewCertificate(logger: Logger): Promise<void> {
    if (this.#front !== undefined && this.#certificate !== undefined)
      await renewCertificate(this.#front, this.#certificate, logger)
  }

  async stop(): Promise<void> {
    await this.#front?.close()
    this.#directory.remove()
  }
}
