import { isIP } from 'node:net'
import type { IncomingConnection, MessageInfo, Mongrel2Context, Mongrel2Env } from '../../platform/handler.ts'

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

/** Waits for work that nobody else waits for, and logs its failure. */
export interface Background {
  inBackground(promise: Promise<unknown>): void
}

/** Told of tasks that may take longer than the response. */
export interface Outlived {
  outlivedBy(task: Promise<unknown>): void
}

const NO_PROPS: Record<string, never> = Object.freeze({})

/** The context of one request: keeps what its handler gives to `waitUntil`. */
export class HandlerContext implements Mongrel2Context {
  readonly props: Record<string, never> = NO_PROPS
  readonly #background: Background
  readonly #exchange: Outlived
  #work: Promise<unknown>[] | undefined

  constructor(background: Background, exchange: Outlived) {
    this.#background = background
    this.#exchange = exchange
  }

  waitUntil(promise: Promise<unknown>): void {
    const task = Promise.resolve(promise)
    this.#work ??= []
    this.#work.push(task)
    this.#exchange.outlivedBy(task)
    this.#background.inBackground(task)
  }

  passThroughOnException(): void {}

  /** Resolves when all that was given to `waitUntil` is done, well or badly, also what was given meanwhile. */
  async settled(): Promise<void> {
    while (this.#work !== undefined) {
      const work = this.#work
      this.#work = undefined
      await Promise.allSettled(work)
    }
  }
}
