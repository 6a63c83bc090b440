import { EventEmitter } from 'node:events'
import { Agent, Dispatcher } from 'undici'
import { HttpServer } from '../../src/gateway/http/http-server.ts'
import { checkSettings, FRONT_SETTINGS, type FrontSettings, ROUTE } from '../../src/gateway/options.ts'
import { Router } from '../../src/gateway/router.ts'
import type { Endpoint } from '../../src/options/endpoint.ts'
import * as is from '../../src/options/option.ts'
import { invalid, isObject } from '../../src/runtime/errors.ts'
import type { HeaderProtocol } from '../../src/wire/message.ts'
import { memoryConnector } from './memory-connector.ts'

/** Options of `Mongrel2Dispatcher`. */
export interface Mongrel2DispatcherOptions
  extends Pick<FrontSettings, 'flowControl' | 'bufferSize' | 'contentLength' | 'logger'> {
  /** The addresses that the handler connects to, bound here: `'SEND_SPEC,RECV_SPEC'`, or an object with both. */
  zeromq: string | Endpoint
  /** The format of headers. Default: `json`. */
  protocol?: HeaderProtocol
}

const { flowControl, bufferSize, contentLength, logger } = FRONT_SETTINGS
const OPTIONS = {
  zeromq: is.checkedBy(checkEndpoint),
  protocol: ROUTE.protocol,
  flowControl,
  bufferSize,
  contentLength,
  logger,
} satisfies is.Described<Mongrel2DispatcherOptions>
const checkOptions = is.checkerOf('option', 'an object with at least zeromq', OPTIONS)
const checkSpecs = is.checkerOf('property of zeromq', '{ sendSpec, recvSpec }', {
  sendSpec: is.SEND_SPEC,
  recvSpec: is.SPEC,
})

function checkEndpoint(name: string, zeromq: unknown): Endpoint {
  const [sendSpec, recvSpec, ...more] = typeof zeromq === 'string' ? zeromq.split(',').map((spec) => spec.trim()) : []
  if (recvSpec !== undefined && more.length === 0) return checkSpecs({ sendSpec, recvSpec })
  if (isObject(zeromq)) return checkSpecs(zeromq)
  throw invalid(name, "'SEND_SPEC,RECV_SPEC' or { sendSpec, recvSpec }", zeromq)
}

/**
 * A dispatcher that sends requests, whatever their host, to a Mongrel2 handler over ZeroMQ. It binds the endpoint as Mongrel2 would; no HTTP goes
 * over a network. Bodies stream both ways; to the handler an aborted request is a client that has left. Emits undici's events `connect`,
 * `disconnect`, `connectionError` and `drain`. Close it when done: its sockets keep the process alive.
 *
 * @example
 * ```ts
 * import { fetch } from 'undici'
 * import { Mongrel2Dispatcher } from 'mongrel2-fetch/undici'
 *
 * const dispatcher = new Mongrel2Dispatcher({ zeromq: 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998' })
 * const response = await fetch('http://handler/', { dispatcher })
 * ```
 */
export class Mongrel2Dispatcher extends Dispatcher {
  readonly #router: Promise<Router>
  readonly #server: Promise<HttpServer>
  readonly #agent: Agent
  #closed: Promise<void> | undefined

  /** @throws Mongrel2Error `invalid_option` when an option is wrong. When an address cannot be bound, the requests fail. */
  constructor(options: Mongrel2DispatcherOptions) {
    super()
    const { zeromq, protocol, ...frontSettings } = checkOptions(options)
    const route = { path: '', ...zeromq, protocol, sendIdent: crypto.randomUUID(), recvIdent: '' }
    const settings = { ...checkSettings(frontSettings), routes: [route] }
    this.#router = Router.bind(settings)
    this.#server = this.#router.then((router) => new HttpServer(router, settings))
    this.#server.catch(() => {}) // each request fails with the error
    this.#agent = new Agent({ connect: memoryConnector(this.#server) })
    this.#passOnEvents()
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    return this.#agent.dispatch(options, handler)
  }

  /** Waits for the open requests, then closes the sockets. */
  override close(): Promise<void>
  override close(callback: () => void): void
  override close(callback?: () => void): Promise<void> | undefined {
    this.#closed ??= this.#end(this.#agent.close())
    return called(this.#closed, callback)
  }

  /** Aborts the open requests and closes the sockets. */
  override destroy(): Promise<void>
  override destroy(error: Error | null): Promise<void>
  override destroy(callback: () => void): void
  override destroy(error: Error | null, callback: () => void): void
  override destroy(error?: Error | null | (() => void), callback?: () => void): Promise<void> | undefined {
    const reason = error instanceof Error ? error : null
    return called(this.#end(this.#agent.destroy(reason)), typeof error === 'function' ? error : callback)
  }

  /** Passes on the agent's events as undici's dispatchers do: each puts itself before the targets. */
  #passOnEvents(): void {
    const agent: EventEmitter = this.#agent // undici's types lack the targets of drain
    for (const event of ['connect', 'disconnect', 'connectionError', 'drain']) {
      agent.on(event, (origin: URL, targets: readonly Dispatcher[], ...error: unknown[]) => {
        EventEmitter.prototype.emit.call(this, event, origin, [this, ...targets], ...error)
      })
    }
  }

  async #end(agentEnded: Promise<void>): Promise<void> {
    await agentEnded
    await Promise.allSettled([this.#server, this.#router].map(async (part) => (await part).close()))
  }
}

function called(promise: Promise<void>, callback: (() => void) | undefined): Promise<void> | undefined {
  if (callback === undefined) return promise
  void promise.finally(callback)
  return undefined
}
