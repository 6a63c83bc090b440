import { INPROC, isInproc } from './inproc/transport.ts'
import type { Transport } from './transport.ts'
import { ZeromqPublisher } from './zeromq/publisher.ts'
import { ZeromqSource } from './zeromq/source.ts'
import { ZmtpPublisher } from './zmtp/publisher.ts'
import { createZmtpSource } from './zmtp/source.ts'

/** By the values of the option `link`. */
export const TRANSPORTS: Readonly<Record<'zeromq' | 'zmtp', Transport>> = {
  /** On plain ZMTP over `node:net`: no threads, no native calls, one read or write per turn. */
  zmtp: { createPublisher: (...args) => new ZmtpPublisher(...args), createSource: createZmtpSource },
  /** On libzmq, by zeromq.js. */
  zeromq: {
    createPublisher: (...args) => new ZeromqPublisher(...args),
    createSource: (...args) => new ZeromqSource(...args),
  },
}

/** The transport of a link that pulls. */
export function transportOf({ link, sendSpec }: { link: keyof typeof TRANSPORTS; sendSpec: string }): Transport {
  return isInproc(sendSpec) ? INPROC : TRANSPORTS[link]
}
