import { WaitingBudget } from '../connection/pacing/estimate-pacing.ts'
import { requestEnd, requestsAreTraced, requestTracing } from '../operations/channels.ts'
import { Recorder } from '../operations/recorder.ts'
import { ObservedRequest, type RequestObserver, type RequestTrace } from '../operations/request-entry.ts'
import type { ServerState } from '../operations/server-state.ts'
import { lightRequestsAreKnown } from '../platform/globals.ts'
import type { FetchHandler, Mongrel2Env } from '../platform/handler.ts'
import { plainResponseOf } from '../platform/light-response.ts'
import { handlerFailed, overloaded, responseOf, timedOut, upgradeRequired } from '../platform/outcomes.ts'
import { CallContext, trackPromises } from '../runtime/call-context.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { asError, describeError, ThrottledWarning } from '../runtime/log.ts'
import { type Deferred, deferred, tickEnd } from '../runtime/promises.ts'
import type { Message } from '../wire/message.ts'
import { Admission } from './admission.ts'
import type { Exchange } from './exchange.ts'
import type { Settings } from './options.ts'
import { checkResponse } from './response/check-response.ts'

/** The state of a server, and its counts since the start. */
export interface Mongrel2Statistics extends ServerState {
  /** Requests that the handler was called for. */
  requests: number
  /** Replies published. One may carry several responses of a connection; a response may take several. */
  replies: number
  /** Bytes for clients in the replies, heads and framing included. */
  bytesOut: number
}

/** Calls the user's handler, with a bound of calls at once, a time limit, and an answer to every request. */
export class Application {
  // biome-ignore format: one line
  readonly counters = { messages: 0, requests: 0, replies: 0, bytesOut: 0, malformed: 0, rejected: 0, ignored: 0 }
  /** The context of the server's start, in which the user's code is called. */
  readonly context = new CallContext(true)
  readonly waitingBudget: WaitingBudget
  readonly lightRequests: boolean = lightRequestsAreKnown()
  readonly admission: Admission
  readonly #settings: Settings
  /** Throttled, since clients may make the handler fail. */
  readonly #failure: ThrottledWarning
  readonly #recorder: Recorder | undefined
  readonly #background = new Set<Promise<unknown>>()
  /** Calls that wait for `#callNext`. */
  readonly #waiting: (() => void)[] = []
  #holding = false
  #open = 0
  #allClosed: Deferred<void> | undefined

  constructor(settings: Settings) {
    const { maxWaitingBytes, maxInFlight, maxQueued, logger } = settings
    this.#settings = settings
    if (settings.record !== undefined) this.#recorder = new Recorder(settings)
    this.#failure = new ThrottledWarning(logger, 'error')
    this.admission = new Admission(maxInFlight, maxQueued)
    const warning = new ThrottledWarning(logger)
    this.waitingBudget = new WaitingBudget(maxWaitingBytes, () =>
      warning.say(
        () =>
          `mongrel2-fetch lets responses wait, since ${maxWaitingBytes} bytes (maxWaitingBytes) may already wait in Mongrel2, which does not tell ` +
          'what the clients have read: turn on its download.flow_control, or name its control port in zeromq',
      ),
    )
  }

  /** Calls the handler when there is a place, and answers with its response. */
  run(exchange: Exchange, request: Request, env: Mongrel2Env): void {
    const awaitsBody = exchange.upload?.over === false
    const entered = this.admission.enter(awaitsBody)
    if (entered && !this.#holding) return this.#call(exchange, request, env, awaitsBody)
    const call = () => {
      // The client may have left, or the body failed, which is answered by then.
      if (exchange.unanswered) this.#call(exchange, request, env, awaitsBody)
      else this.admission.leave(awaitsBody)
    }
    if (entered) return void this.#waiting.push(call)
    if (this.admission.queue(call, awaitsBody)) return
    this.counters.rejected++
    exchange.answer(responseOf(overloaded()))
  }

  /** Calls a hook that may refuse the request; its errors are handled like the handler's. */
  async ask(hook: NonNullable<Settings['onUploadStart']>, request: Request, exchange: Exchange): Promise<void> {
    try {
      const response: unknown = await this.context.run(callUser, exchange, hook, request)
      if (response !== undefined) exchange.refuse(exchange.context.run(checkResponse, response))
    } catch (error) {
      exchange.refuse(await this.#responseTo(error, request, exchange))
    }
  }

  /** Makes `settled` wait for work, and logs its failure. */
  inBackground(promise: Promise<unknown>): void {
    const tracked = promise
      .catch((error: unknown) =>
        this.#settings.logger.error?.(`mongrel2-fetch: work in the background failed: ${describeError(error)}`),
      )
      .finally(() => this.#background.delete(tracked))
    this.#background.add(tracked)
  }

  /** Begins to observe a request; undefined if nobody wants to know. */
  observe(message: Message, observer: RequestObserver | undefined): ObservedRequest | undefined {
    const told = this.#settings.onRequestEnd !== undefined || requestsAreTraced()
    if (observer === undefined && !told) return undefined
    const request = new ObservedRequest(message, observer)
    if (this.#recorder !== undefined) request.recording = this.#recorder.begin(message)
    if (told) request.told = this.#tell
    return request
  }

  /** Tells the user and tracing agents of a request that has ended. */
  readonly #tell = (request: ObservedRequest): void => {
    const { onRequestEnd, logger } = this.#settings
    const { trace } = request
    try {
      const result: unknown = onRequestEnd && this.context.run(onRequestEnd, request)
      if (result instanceof Promise) this.inBackground(result)
    } catch (error) {
      logger.error?.(`mongrel2-fetch: onRequestEnd failed: ${describeError(error)}`)
    }
    if (trace === undefined) return
    trace.entry = request
    requestEnd.publish(trace)
  }

  opened(): void {
    this.#open++
  }

  closed(): void {
    if (--this.#open > 0) return
    this.#allClosed?.resolve()
    this.#allClosed = undefined
  }

  /** Resolves when no exchange is open and no work goes on in the background. */
  async settled(): Promise<void> {
    while (this.#open > 0 || this.#background.size > 0) {
      if (this.#open > 0) {
        this.#allClosed ??= deferred()
        await this.#allClosed.promise
      }
      await Promise.all(this.#background)
    }
  }

  /** Calls the handler of a request that has a place. A response that is no promise is sent at once. */
  #call(exchange: Exchange, request: Request, env: Mongrel2Env, awaitsBody: boolean): void {
    exchange.place = 'other'
    if (awaitsBody) this.#followBody(exchange)
    this.counters.requests++
    const { handlerContext } = exchange
    try {
      const call = exchange.observed !== undefined && requestsAreTraced() ? traceUser : callUser
      const result = this.context.run(call, exchange, this.#settings.fetch, request, env, handlerContext)
      if (result instanceof Promise) {
        this.#hold()
        void this.#await(result, exchange, request)
      } else {
        exchange.answer(checkResponse(result))
        this.#leave(exchange)
      }
    } catch (error) {
      void this.#await(Promise.reject(error), exchange, request)
    }
  }

  /**
   * Lets the next calls wait until the microtasks of this one have run. One read brings many messages: if all handlers began at once, what each of
   * them makes would be in use at the same time, and each collection would have to keep it.
   */
  #hold(): void {
    if (this.#holding) return
    this.#holding = true
    void tickEnd().then(this.#callNext)
  }

  readonly #callNext = (): void => {
    this.#holding = false
    while (!this.#holding && this.#waiting.length > 0) this.#waiting.shift()?.()
  }

  /** Makes an exchange keep a place for bodies until its body is complete or discarded. */
  #followBody(exchange: Exchange): void {
    const { upload } = exchange
    if (upload?.over !== false) return this.admission.bodyCame()
    exchange.place = 'body'
    upload.whenSettled = () => {
      if (exchange.place !== 'body') return
      exchange.place = 'other'
      this.admission.bodyCame()
    }
  }

  #leave(exchange: Exchange): void {
    const { place } = exchange
    if (place === undefined) return
    exchange.place = undefined
    this.admission.leave(place === 'body')
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
    // A request without a handshake for the path of a WebSocket is the client's mistake.
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

/** Calls the handler as `callUser` does, and publishes that to tracing agents. */
function traceUser(exchange: Exchange, fetch: FetchHandler, ...call: Parameters<FetchHandler>): unknown {
  const [request, env] = call
  const trace: RequestTrace = { request, env }
  if (exchange.observed !== undefined) exchange.observed.trace = trace
  return requestTracing.tracePromise(async () => callUser(exchange, fetch, ...call), trace)
}

/** Calls the user's code for an exchange. Later calls for the same response run in the context in which it ended; a plain response needs none. */
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
