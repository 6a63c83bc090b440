import { CUT_MESSAGE } from '../../wire/message.ts'
import type { Transport } from '../transport.ts'
import { ZmtpConnection } from './connection.ts'

/** Milliseconds for Mongrel2 to end its side after we have ended ours. */
const END_TIMEOUT = 1000

/** Makes the pulling half of a link on plain ZMTP, a PULL. */
export const createZmtpSource: Transport['createSource'] = (spec, identity, receive, report, maxMessageSize) => {
  const bounds = { maxFrame: maxMessageSize + CUT_MESSAGE, cutTo: CUT_MESSAGE }
  const role = { socketType: 'PULL', peers: ['PUSH'], receive, bounds }
  const connection = new ZmtpConnection(spec, identity, role, report)
  return {
    opened: connection.opened.promise,
    closed: connection.closed,
    /** Ends our side only: Mongrel2's libzmq then sends nothing more and closes, and all that it has sent is read. */
    async stop() {
      connection.end(END_TIMEOUT)
      await connection.closed
    },
    close: () => connection.destroy(),
  }
}
