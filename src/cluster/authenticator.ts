import { type Context, Reply } from 'zeromq'
import { renderZ85 } from './key-pair.ts'

/** Says whether who has a key may connect to the socket with a domain (`ZMQ_ZAP_DOMAIN`). */
export type Decide = (domain: string, key: string) => boolean

/** Answers libzmq's questions about the keys of who connects to the sockets of a context (ZAP, RFC 27). */
export class Authenticator {
  readonly #socket: Reply
  readonly #decide: Decide

  constructor(context: Context, decide: Decide) {
    this.#socket = new Reply({ context, linger: 0 })
    this.#decide = decide
  }

  async start(): Promise<void> {
    await this.#socket.bind('inproc://zeromq.zap.01')
    void this.#answer()
  }

  close(): void {
    this.#socket.close()
  }

  async #answer(): Promise<void> {
    try {
      for (;;) {
        const [version = '', id = '', domain, , , mechanism, key] = await this.#socket.receive()
        const right = String(mechanism) === 'CURVE' && key !== undefined
        const [code, text] = right && this.#decide(String(domain), key.toString('hex')) ? ['200', 'OK'] : ['400', 'No']
        await this.#socket.send([version, id, code, text, '', ''])
      }
    } catch {
      // Nobody asks any more.
    }
  }
}

/** A key in the form that libzmq takes. */
export function curveKey(hexadecimal: string): string {
  return renderZ85(Buffer.from(hexadecimal, 'hex'))
}
