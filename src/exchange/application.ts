import { type Deferred, deferred } from '../deferred.ts'
import { describeError, type Logger } from '../log.ts'
import { Admission } from './admission.ts'
import type { Exchange } from './exchange.ts'
import type { FetchHandler, Mongrel2Context, Mongrel2Env } from './handler.ts'
import { checkResponse } from './response.ts'
import { type Counters, createCounters } from './statistics.ts'

/** What the user gave, checked. */
export interface ApplicationSettings {
  readonly fetch: FetchHandler
  readonly maxInFlight: number
  readonly maxQueued: number
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
  readonly #settings: ApplicationSettings
  readonly #admission: Admission
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
    this.#admission = new Admission(settings.maxInFlight, settings.maxQueued)
  }

  get inFlight(): number {
    return this.#admission.inFlight
  }

  /**
   * Calls the handler when there is a place, and answers the exchange with what it returns.
   *
   * @param release Called once, when the response and what the handler gave `waitUntil` are done, or the handler will not be called.
   */
  run(exchange: Exchange, request: Request, env: Mongrel2Env, release?: () => Promise<void>): void {
    const start = () => {
      if (exchange.aborted) {
        this.#admission.leave()
        if (release !== undefined) this.inBackground(release())
      } else void this.#call(exchange, request, env, release)
    }
    if (this.#admission.enter(start)) return
    this.counters.rejected++
    exchange.answer(new Response('Service Unavailable', { status: 503, headers: { 'retry-after': '1' } }))
    if (release !== undefined) this.inBackground(release())
  }

  /** Calls a hook of the user's that may answer instead of the handler; what it throws is handled as the handler's errors are. */
  async ask(
    hook: (request: Request) => Response | undefined | Promise<Response | undefined>,
    request: Request,
  ): Promise<Response | undefined> {
    try {
      const response = await hook(request)
      return response === undefined ? undefined : checkResponse(response)
    } catch (error) {
      return await this.#responseTo(error, request)
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

  async #call(exchange: Exchange, request: Request, env: Mongrel2Env, release?: () => Promise<void>): Promise<void> {
    this.counters.requests++
    const work: Promise<unknown>[] = []
    const leave = once(() => this.#admission.leave())
    const timer = this.#limitTime(exchange, leave)
    try {
      exchange.answer(checkResponse(await this.#settings.fetch(request, env, this.#contextFor(work))))
    } catch (error) {
      if (exchange.unanswered) exchange.answer(await this.#responseTo(error, request))
    }
    clearTimeout(timer)
    leave()
    if (release !== undefined) this.inBackground(Promise.allSettled([exchange.ended, ...work]).then(release))
  }

  async #responseTo(error: unknown, request: Request): Promise<Response> {
    const { logger, onError } = this.#settings
    if (onError !== undefined) {
      try {
        const response = await onError(error, request)
        if (response !== undefined) return checkResponse(response)
      } catch (failure) {
        logger.error?.(`mongrel2-fetch: onError failed: ${describeError(failure)}`)
      }
    }
    logger.error?.(`mongrel2-fetch: the handler failed on ${request.method} ${request.url}: ${describeError(error)}`)
    return new Response('Internal Server Error', { status: 500 })
  }

  #contextFor(work: Promise<unknown>[]): Mongrel2Context {
    return {
      waitUntil: (promise) => {
        const task = Promise.resolve(promise)
        work.push(task)
        this.inBackground(task)
      },
      passThroughOnException: () => {},
      props: {},
    }
  }

  #limitTime(exchange: Exchange, leave: () => void): NodeJS.Timeout | undefined {
    const { requestTimeout, logger } = this.#settings
    if (requestTimeout === 0) return undefined
    return setTimeout(() => {
      logger.warn?.(
        `mongrel2-fetch: the handler took longer than requestTimeout, ${requestTimeout} ms: answered with 504`,
      )
      exchange.answer(new Response('Gateway Timeout', { status: 504 }))
      exchange.abortSignal(new DOMException(`the handler took longer than ${requestTimeout} ms`, 'TimeoutError'))
      leave()
    }, requestTimeout)
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
