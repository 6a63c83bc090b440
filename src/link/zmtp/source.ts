import { CUT_MESSAGE } from '../../wire/message.ts'
import type { LinkSource, Receive, Report } from '../transport.ts'
import { ZmtpConnection } from './connection.ts'

/** Milliseconds for Mongrel2 to end its side after we have ended ours. */
const END_TIMEOUT = 1000

/** The pulling half of a link on plain ZMTP, a PULL. */
export class ZmtpSource implements LinkSource {
  readonly #connection: ZmtpConnection

  constructor(spec: string, identity: string, receive: Receive, report: Report, maxMessageSize: number) {
    const bounds = { maxFrame: maxMessageSize + CUT_MESSAGE, cutTo: CUT_MESSAGE }
    const role = { socketType: 'PULL', peers: ['PUSH'], receive, bounds }
    this.#connection = new ZmtpConnection(spec, identity, role, report)
  }

  get opened(): Promise<void> {
    return this.#connection.opened.promise
  }

  get closed(): Promise<void> {
    return this.#connection.closed
  }

  /** Ends our side only: Mongrel2's libzmq then sends nothing more and closes, and all that it has sent is read. */
  async stop(): Promise<void> {
    this.#connection.end(END_TIMEOUT)
    await this.#connection.closed
  }

  close(): void {
    this.#connection.destroy()
  }
}
