import { createFront, type Front } from '../../gateway/index.ts'
import type { MessageHandlers } from '../../message-socket/types.ts'
import type { Logger } from '../../runtime/log.ts'
import { TemporaryDirectory } from '../../runtime/temporary-directory.ts'
import type { TlsSettings } from '../options/settings.ts'
import { renewCertificate } from '../shared/certificate.ts'
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
   * Begins to listen for browsers, at any free port for 0; returns its URL. Throws CommandError `front`.
   *
   * @param messages The app's handlers of clients that send JSON or XML, which the embedded front does not support.
   * @param tls Its certificate, to speak TLS.
   */
  start(port: number, messages?: MessageHandlers, tls?: TlsSettings): Promise<string>
  /** Reads the certificate anew, where the front can do that while it runs, and logs how that went. */
  renewCertificate?(logger: Logger): Promise<void>
  /** Rejects with a `CommandError` `front` when it ends by itself. */
  readonly died: Promise<never>
  stop(): Promise<void>
}

/** The address where a front listens for browsers. */
export const DEV_ADDRESS = '127.0.0.1'

/** The error of a front that cannot listen. */
export function cannotListen(port: number, error: unknown): CommandError {
  const { code, message } = error as NodeJS.ErrnoException
  const why = code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be used: ${message}`
  return new CommandError('front', `port ${port} of ${DEV_ADDRESS} ${why}; choose another with --port, or 0 for any`)
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

  async start(port: number, _messages?: MessageHandlers, tls?: TlsSettings): Promise<string> {
    const files = tls && (await certificateIn(this.chroot, tls))
    const secure = files && { tlsCert: files.cert, tlsKey: files.key }
    const [sendSpec = '', recvSpec = ''] = this.endpoint.split(',')
    try {
      this.#front = await createFront({
        port,
        host: DEV_ADDRESS,
        routes: [{ path: '/', sendSpec, recvSpec }],
        ...secure,
      })
    } catch (error) {
      throw cannotListen(port, error)
    }
    return `http${secure === undefined ? '' : 's'}://${DEV_ADDRESS}:${this.#front.address.port}/`
  }

  async renewCertificate(logger: Logger): Promise<void> {
    if (this.#front !== undefined) await renewCertificate(this.#front, logger)
  }

  async stop(): Promise<void> {
    await this.#front?.close()
    this.#directory.remove()
  }
}
