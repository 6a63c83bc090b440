import { isIP } from 'node:net'
import type { IncomingConnection, MessageInfo, Mongrel2Env } from './handler.ts'

/** The handler's second argument; what servers of Node's call `incoming` is made when a handler asks for it. */
export class HandlerEnv implements Mongrel2Env {
  readonly mongrel2: MessageInfo

  constructor(mongrel2: MessageInfo) {
    this.mongrel2 = mongrel2
  }

  get incoming(): IncomingConnection {
    const { remoteAddress } = this.mongrel2
    const version = isIP(remoteAddress)
    return {
      socket: {
        remoteAddress: remoteAddress === '' ? undefined : remoteAddress,
        remotePort: undefined,
        remoteFamily: version === 0 ? undefined : version === 6 ? 'IPv6' : 'IPv4',
      },
    }
  }
}
