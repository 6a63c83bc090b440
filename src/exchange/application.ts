import { WaitingBudget } from '../connection/pacing/estimate-pacing.ts'
import type { FetchHandler, Mongrel2Env } from '../platform/handler.ts'
import { createResponse, plainResponseOf } from '../platform/light-response.ts'
import { CallContext, trackPromises } from '../runtime/call-context.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { asError, describeError, type Logger, ThrottledWarning } from '../runtime/log.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import { VERSION_FIELD } from '../websocket/handshake-request.ts'
import { Admission } from './admission.ts'
import type { Exchange } from './exchange.ts'
import { checkResponse } from './response/check-response.ts'
import { type Counters, createCounters } from './statistics.ts'

/** What the user gave, checked. */
export interface ApplicationSettings {
  readonly fetch: FetchHandler
  readonly maxInFlight: number
  readonly maxQueued: number
  /** Bytes that may wait in Mongrel2 for all connections that are paced by estimate. */
  readonly maxWaitingBytes: number
  /** Milliseconds a handler may take; 0 is no limit. */
  readonly requestTimeout: number
  readonly onError:
    | ((error: unknown, request: Request) => Response | undefined | Promise<Response | undefined>)
    | undefined
  readonly logger: Logger
}

/** The user's handler, and what it takes to call it safely: places, a timeout, an answer whatever happens. */
export class Application {
  readonly counters: Counters = createCounters()
  /** The context of the server's start, in which each call of the user's code begins. */
  readonly context = new CallContext(true)
  readonly waitingBudget: WaitingBudget
  readonly #settings: ApplicationSettings
  readonly #admission: Admission
  /** Throttled, since a client may make the handler fail as often as it likes. */
  readonly #failure: ThrottledWarning
  readonly #background = new Set<Promise<unknown>>()
  #open = 0
  #allClosed: Deferred<void> | undefined
  readonly #closed = (): void => {
    if (--this.#open > 0) return
    this.#allClosed?.resolve()
    this.#allClosed = undefined
  }

  constructor(settings: ApplicationSettings) {
    this.#settings = settings
    this.#failure = new ThrottledWarning(settings.logger, 'error')
    this.#admission = new Admission(settings.maxInFlight, settings.maxQueued)
    const { maxWaitingBytes, logger } = settings
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

  /** Handlers that run and requests that wait for a place, without `waitingBodies`. */
  get unreturned(): number {
    return this.#admission.load
  }

  /** Requests that wait although places are free, since half of the places belong to requests whose body still comes. */
  get waitingBodies(): number {
    return this.#admission.waitingBodies
  }

  /**
   * Calls the handler when there is a place, and answers the exchange with what it returns.
   *
   * @param release Called once, when the response and what the handler gave `waitUntil` are done, or the handler will not be called.
   */
  run(exchange: Exchange, request: Request, env: Mongrel2Env, release?: () => Promise<void>): void {
    const awaitsBody = exchange.upload?.over === false
    if (this.#admission.enter(awaitsBody)) return this.#begin(exchange, request, env, awaitsBody, release)
    const waits = this.#admission.queue(() => {
      // Its client may have left, or its body failed, which was answered then.
      if (exchange.unanswered) return this.#begin(exchange, request, env, awaitsBody, release)
      this.#admission.leave(awaitsBody)
      if (release !== undefined) this.inBackground(release())
    }, awaitsBody)
    if (waits) return
    this.counters.rejected++
    exchange.answer(createResponse('Service Unavailable', { status: 503, headers: { 'retry-after': '1' } }))
    if (release !== undefined) this.inBackground(release())
  }

  /** Calls a hook of the user's that may answer instead of the handler; what it throws is handled as the handler's errors are. */
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

  /** Lets `settled` wait for something that nobody else waits for, and logs its failure. */
  inBackground(promise: Promise<unknown>): void {
    const tracked = promise
      .catch((error: unknown) =>
        this.#settings.logger.error?.(`mongrel2-fetch: work in the background failed: ${describeError(error)}`),
      )
      .finally(() => this.#background.delete(tracked))
    this.#background.add(tracked)
  }

  /** An exchange was opened; the returned function says that it has ended. */
  opened(): () => void {
    this.#open++
    return this.#closed
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

  /** Calls the handler of a request that has a place. */
  #begin(
    exchange: Exchange,
    request: Request,
    env: Mongrel2Env,
    awaitsBody: boolean,
    release?: () => Promise<void>,
  ): void {
    const { upload } = exchange
    if (awaitsBody && upload?.over === false) {
      exchange.awaitsBody = true
      upload.whenSettled = () => {
        if (!exchange.awaitsBody) return
        exchange.awaitsBody = false
        this.#admission.bodyCame()
      }
    } else if (awaitsBody) this.#admission.bodyCame()
    this.#call(exchange, request, env, release)
  }

  #leave(exchange: Exchange): void {
    const { awaitsBody } = exchange
    exchange.awaitsBody = false
    this.#admission.leave(awaitsBody)
  }

  /** A handler that answers at once is answered for at once: no promise is made. */
  #call(exchange: Exchange, request: Request, env: Mongrel2Env, release?: () => Promise<void>): void {
    this.counters.requests++
    const context = exchange.handlerContext
    try {
      const result = this.context.run(callUser, exchange, this.#settings.fetch, request, env, context)
      if (result instanceof Promise) void this.#await(result, exchange, request)
      else {
        exchange.answer(checkResponse(result))
        this.#leave(exchange)
      }
    } catch (error) {
      void this.#await(Promise.reject(error), exchange, request)
    }
    if (release !== undefined) this.inBackground(exchange.ended.then(() => context.settled()).then(release))
  }

  async #await(result: Promise<unknown>, exchange: Exchange, request: Request): Promise<void> {
    const leave = once(() => this.#leave(exchange))
    const timer = this.#limitTime(exchange, leave)
    try {
      exchange.answer(exchange.context.run(checkResponse, await result))
    } catch (error) {
      if (exchange.unanswered) exchange.answer(await this.#responseTo(error, request, exchange))
    }
    clearTimeout(timer)
    leave()
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
      return createResponse(`${cause.message}\n`, { status: 426, headers: VERSION_FIELD })
    }
    this.#failure.say(
      () => `mongrel2-fetch: the handler failed on ${request.method} ${request.url}: ${describeError(error)}`,
    )
    return createResponse('Internal Server Error', { status: 500 })
  }

  #limitTime(exchange: Exchange, leave: () => void): NodeJS.Timeout | undefined {
    const { requestTimeout, logger } = this.#settings
    if (requestTimeout === 0) return undefined
    return setTimeout(() => {
      logger.warn?.(
        `mongrel2-fetch: the handler took longer than requestTimeout, ${requestTimeout} ms: answered with 504`,
      )
      exchange.answer(createResponse('Gateway Timeout', { status: 504 }))
      exchange.abortSignal(new DOMException(`the handler took longer than ${requestTimeout} ms`, 'TimeoutError'))
      leave()
    }, requestTimeout)
  }
}

/**
 * Calls code of the user's for an exchange. What it leaves for later goes on where it was: the exchange keeps its context, unless it gave a
 * response for which nothing has to be called.
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

function once(action: () => void): () => void {
  let done = false
  return () => {
    if (done) return
    done = true
    action()
  }
}
