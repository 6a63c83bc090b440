import { createFront, type Front } from '../../gateway/index.ts'
import { TemporaryDirectory } from '../../runtime/temporary-directory.ts'
import { cannotListen, DEV_ADDRESS, type DevFront } from './front.ts'

/** The embedded stand-in for Mongrel2, where that is not installed. */
export class EmbeddedFront implements DevFront {
  readonly name = 'the embedded front'
  readonly endpoint: string
  readonly chroot: string
  /** It has no life of its own that could end. */
  readonly died = new Promise<never>(() => {})
  #front: Front | undefined
  readonly #directory = new TemporaryDirectory()

  constructor() {
    this.chroot = this.#directory.path
    this.endpoint = `ipc://${this.chroot}/send,ipc://${this.chroot}/recv`
  }

  async start(port: number): Promise<string> {
    const [sendSpec = '', recvSpec = ''] = this.endpoint.split(',')
    try {
      this.#front = await createFront({ port, host: DEV_ADDRESS, routes: [{ path: '/', sendSpec, recvSpec }] })
    } catch (error) {
      throw cannotListen(port, error)
    }
    return `http://${DEV_ADDRESS}:${this.#front.address.port}/`
  }

  async stop(): Promise<void> {
    await this.#front?.close()
    this.#directory.remove()
  }
}
