import type { Transport } from '../transport.ts'
import { ZmtpPublisher } from './publisher.ts'
import { ZmtpSource } from './source.ts'

/** Links on plain ZMTP over `node:net`: no threads, no native calls, one read or write for what one turn brings. */
export const zmtp: Transport = {
  createPublisher: (spec, identity, report) => new ZmtpPublisher(spec, identity, report),
  createSource: (...args) => new ZmtpSource(...args),
}
