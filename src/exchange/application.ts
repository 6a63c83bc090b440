import { WaitingBudget } from '../connection/pacing/estimate-pacing.ts'
import type { PacingCounts } from '../connection/pacing/pacing.ts'
import type { Mongrel2Env } from '../platform/handler.ts'
import { plainResponseOf } from '../platform/light-response.ts'
import { handlerFailed, overloaded, responseOf, timedOut, upgradeRequired } from '../platform/outcomes.ts'
import { CallContext, trackPromises } from '../runtime/call-context.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { asError, describeError, ThrottledWarning } from '../runtime/log.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import { Admission } from './admission.ts'
import type { Exchange } from './exchange.ts'
import type { Settings } from './options.ts'
import { checkResponse } from './response/check-response.ts'

/** What a server has counted since it was made. */
export interface Mongrel2Statistics {
  /** Messages that Mongrel2 sent, notices and malformed ones included. */
  messages: number
  /** Requests that the handler was called for. */
  requests: number
  /** Replies published; one may carry several responses of a connection, and a response may take several. */
  replies: number
  /** Bytes for clients in those replies, heads and framing included. */
  bytesOut: number
  /** Messages dropped because they were malformed. */
  malformed: number
  /** Requests that were refused (400, 413, 426, 503) and messages dropped because their connection is being closed. */
  rejected: number
  /** Notices without effect: of unknown connections, or with credits that are no number. */
  ignored: number
  /** Handlers that have not returned yet. */
  inFlight: number
  /** Connections that state is kept for, at most the open ones. */
  connections: number
  /** How many of these are paced by Mongrel2's credits, by its control port, or by estimate. */
  pacing: PacingCounts
}

/** The counters that only grow. */
type Counters = Omit<Mongrel2Statistics, 'inFlight' | 'connections' | 'pacing'>

/** The user's handler, and what a safe call of it needs: a bound of calls at once, a time limit, an answer to every request. */
export class Application {
  // biome-ignore format: one line
  readonly counters: Counters = { messages: 0, requests: 0, replies: 0, bytesOut: 0, malformed: 0, rejected: 0, ignored: 0 }
  /** The context of the server's start, in which each call of the user's code begins. */
  readonly context = new CallContext(true)
  readonly waitingBudget: WaitingBudget
  readonly #settings: Settings
  readonly #admission: Admission
  /** Throttled, since a client may make the handler fail as often as it likes. */
  readonly #failure: ThrottledWarning
  readonly #background = new Set<Promise<unknown>>()
  #open = 0
  #allClosed: Deferred<void> | undefined

  constructor(settings: Settings) {
    const { maxWaitingBytes, maxInFlight, maxQueued, logger } = settings
    this.#settings = settings
    this.#failure = new ThrottledWarning(logger, 'error')
    this.#admission = new Admission(maxInFlight, maxQueued)
    const warning = new ThrottledWarning(logger)
    this.waitingBudget = new WaitingBudget(maxWaitingBytes, () =>
      warning.say(
        () =>
          `mongrel2-fetch lets responses wait, since ${maxWaitingBytes} bytes (maxWaitingBytes) may already wait in Mongrel2 for clients of which ` +
          "nobody tells what they have read: turn on Mongrel2's download.flow_control, or name its control port in zeromq",
      ),
    )
  }

  get inFlight(): number {
    return this.#admission.inFlight
  }

  /** Running handlers and waiting requests, without `waitingBodies`. */
  get unreturned(): number {
    return this.#admission.load
  }

  /** Requests that wait although places are free, since at most half of the places go to requests whose body still comes. */
  get waitingBodies(): number {
    return this.#admission.waitingBodies
  }

  /** Calls the handler when there is a place, and answers the exchange with what it returns. */
  run(exchange: Exchange, request: Request, env: Mongrel2Env): void {
    const awaitsBody = exchange.upload?.over === false
    if (this.#admission.enter(awaitsBody)) return this.#call(exchange, request, env, awaitsBody)
    const waits = this.#admission.queue(() => {
      // Its client may have left, or its body failed, which was answered then.
      if (exchange.unanswered) this.#call(exchange, request, env, awaitsBody)
      else this.#admission.leave(awaitsBody)
    }, awaitsBody)
    if (waits) return
    this.counters.rejected++
    exchange.answer(responseOf(overloaded()))
  }

  /** Calls a hook of the user's that may answer instead of the handler; its errors are handled as the handler's are. */
  async ask(
    hook: (request: Request) => Response | undefined | Promise<Response | undefined>,
    request: Request,
    exchange: Exchange,
  ): Promise<Response | undefined> {
    try {
      const response: unknown = await this.context.run(callUser, exchange, hook, request)
      return response === undefined ? undefined : exchange.context.run(checkResponse, response)
    } catch (error) {
      return await this.#responseTo(error, request, exchange)
    }
  }

  /** Lets `settled` wait for work that nothing else waits for, and logs its failure. */
  inBackground(promise: Promise<unknown>): void {
    const tracked = promise
      .catch((error: unknown) =>
        this.#settings.logger.error?.(`mongrel2-fetch: work in the background failed: ${describeError(error)}`),
      )
      .finally(() => this.#background.delete(tracked))
    this.#background.add(tracked)
  }

  /** An exchange began. */
  opened(): void {
    this.#open++
  }

  /** An exchange ended. */
  closed(): void {
    if (--this.#open > 0) return
    this.#allClosed?.resolve()
    this.#allClosed = undefined
  }

  /** Resolves when no exchange is open and nothing goes on in the background. */
  async settled(): Promise<void> {
    while (this.#open > 0 || this.#background.size > 0) {
      if (this.#open > 0) {
        this.#allClosed ??= deferred()
        await this.#allClosed.promise
      }
      await Promise.all(this.#background)
    }
  }

  /** Calls the handler of a request that has a place. A response that is returned at once is sent at once, without a promise. */
  #call(exchange: Exchange, request: Request, env: Mongrel2Env, awaitsBody: boolean): void {
    exchange.place = 'other'
    if (awaitsBody) this.#followBody(exchange)
    this.counters.requests++
    const { handlerContext } = exchange
    try {
      const result = this.context.run(callUser, exchange, this.#settings.fetch, request, env, handlerContext)
      if (result instanceof Promise) void this.#await(result, exchange, request)
      else {
        exchange.answer(checkResponse(result))
        this.#leave(exchange)
      }
    } catch (error) {
      void this.#await(Promise.reject(error), exchange, request)
    }
  }

  /** Lets an exchange have one of the places for bodies until its body is complete or nobody waits for it. */
  #followBody(exchange: Exchange): void {
    const { upload } = exchange
    if (upload?.over !== false) return this.#admission.bodyCame()
    exchange.place = 'body'
    upload.whenSettled = () => {
      if (exchange.place !== 'body') return
      exchange.place = 'other'
      this.#admission.bodyCame()
    }
  }

  #leave(exchange: Exchange): void {
    const { place } = exchange
    if (place === undefined) return
    exchange.place = undefined
    this.#admission.leave(place === 'body')
  }

  async #await(result: Promise<unknown>, exchange: Exchange, request: Request): Promise<void> {
    const timer = this.#limitTime(exchange)
    try {
      exchange.answer(exchange.context.run(checkResponse, await result))
    } catch (error) {
      if (exchange.unanswered) exchange.answer(await this.#responseTo(error, request, exchange))
    }
    clearTimeout(timer)
    this.#leave(exchange)
  }

  async #responseTo(error: unknown, request: Request, exchange: Exchange): Promise<Response> {
    const { logger, onError } = this.#settings
    if (onError !== undefined) {
      try {
        const response: unknown = await exchange.context.run(callUser, exchange, onError, error, request)
        if (response !== undefined) return exchange.context.run(checkResponse, response)
      } catch (failure) {
        logger.error?.(`mongrel2-fetch: onError failed: ${describeError(failure)}`)
      }
    }
    // Anybody can ask for a WebSocket's path without a handshake: that is the client's mistake.
    const cause = asError(error)
    if (cause instanceof Mongrel2Error && cause.code === 'not_a_handshake') {
      return responseOf(upgradeRequired(cause.message))
    }
    this.#failure.say(
      () => `mongrel2-fetch: the handler failed on ${request.method} ${request.url}: ${describeError(error)}`,
    )
    return responseOf(handlerFailed())
  }

  #limitTime(exchange: Exchange): NodeJS.Timeout | undefined {
    const { requestTimeout, logger } = this.#settings
    if (requestTimeout === 0) return undefined
    return setTimeout(() => {
      logger.warn?.(
        `mongrel2-fetch: the handler took longer than requestTimeout, ${requestTimeout} ms: answered with 504`,
      )
      exchange.answer(responseOf(timedOut()))
      exchange.abortSignal(new DOMException(`the handler took longer than ${requestTimeout} ms`, 'TimeoutError'))
      this.#leave(exchange)
    }, requestTimeout)
  }
}

/**
 * Calls the user's code for an exchange. What that code leaves for later runs in the context in which it ended: the exchange keeps it,
 * unless the response is plain, for which nothing else is called.
 */
function callUser<Parameters extends unknown[]>(
  exchange: Exchange,
  call: (...parameters: Parameters) => unknown,
  ...parameters: Parameters
): unknown {
  let plain = false
  try {
    const result = call(...parameters)
    if (result instanceof Promise) trackPromises()
    else plain = plainResponseOf(result) !== undefined
    return result
  } finally {
    if (!plain) exchange.context = new CallContext()
  }
}
