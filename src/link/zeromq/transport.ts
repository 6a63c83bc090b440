import type { Transport } from '../transport.ts'
import { ZeromqPublisher } from './publisher.ts'
import { ZeromqSource } from './source.ts'

/** Links on libzmq, by zeromq.js. */
export const zeromq: Transport = {
  createPublisher: (spec, identity, report) => new ZeromqPublisher(spec, identity, report),
  createSource: (...args) => new ZeromqSource(...args),
}
