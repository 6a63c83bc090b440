import type { Transport } from './transport.ts'
import { ZeromqPublisher } from './zeromq/publisher.ts'
import { ZeromqSource } from './zeromq/source.ts'
import { ZmtpPublisher } from './zmtp/publisher.ts'
import { createZmtpSource } from './zmtp/source.ts'

/** Links on plain ZMTP over `node:net`: no threads, no native calls, one read or write per turn. */
export const zmtp: Transport = {
  createPublisher: (spec, identity, report) => new ZmtpPublisher(spec, identity, report),
  createSource: createZmtpSource,
}

/** Links on libzmq, by zeromq.js. */
export const zeromq: Transport = {
  createPublisher: (spec, identity, report) => new ZeromqPublisher(spec, identity, report),
  createSource: (...args) => new ZeromqSource(...args),
}

/** By the values of the option `link`. */
export const TRANSPORTS: Readonly<Record<'zeromq' | 'zmtp', Transport>> = { zeromq, zmtp }
