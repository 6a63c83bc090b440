import type { StreamedBody } from '../connection/carried.ts'
import type { Connection } from '../connection/connection.ts'
import type { RequestFacts } from '../connection/request-semantics.ts'
import type { DeferOptions, Deferral } from '../platform/handler.ts'
import { HandlerContext, type RequestExchange } from '../platform/handler-arguments.ts'
import { plainResponseOf } from '../platform/light-response.ts'
import { handlerFailed, responseOf, timedOut } from '../platform/outcomes.ts'
import { CallContext } from '../runtime/call-context.ts'
import { describeError, type Logger } from '../runtime/log.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import type { Handshake } from '../websocket/handshake.ts'
import { notDeferrable, PendingDeferral, timeoutOf } from './deferral.ts'
import { sendPlain } from './response/plain-response.ts'
import {
  cancelBody,
  discardBody,
  type OpenBody,
  type ResponseSink,
  type Sent,
  sendResponse,
} from './response/send-response.ts'

/** What an exchange needs of the application. */
interface ExchangeApplication {
  /** Where the user's code runs until the exchange's handler was called. */
  readonly context: CallContext
  /** An exchange began. */
  opened(): void
  /** An exchange ended: its response was handed over in full or given up. */
  closed(): void
  /** Waits for work that nothing else waits for, and logs its failure. */
  inBackground(promise: Promise<unknown>): void
}

/** One request and its response on a connection. */
export class Exchange implements ResponseSink, RequestExchange {
  /** Where the streams of its response are read and cancelled. */
  context: CallContext
  facts: RequestFacts
  /** The request's body, where it comes in parts. */
  upload: StreamedBody | undefined
  /** The place that its handler has: one of those for requests whose body still comes, or another. */
  place: 'body' | 'other' | undefined
  readonly #connection: Connection
  readonly #logger: Logger
  readonly #application: ExchangeApplication
  #handlerContext: HandlerContext | undefined
  #whenEnded: Deferred<void> | undefined
  #response: Response | undefined
  #begun = false
  #ended = false
  #aborted = false
  #signalReason: DOMException | undefined
  #controller: AbortController | undefined
  /** Where the listeners of the signal are called: the context of the code that asked for it first. */
  #signalContext: CallContext | undefined
  #body: OpenBody | undefined
  /** What ends with it; undefined while there is none. */
  #endings: Set<() => void> | undefined
  /** The handshake that it may accept. */
  #handshake: Handshake | undefined
  /** Resolves when it is its turn, for somebody who wants to leave its answer to others. */
  #turn: Deferred<void> | undefined
  #deferral: PendingDeferral | undefined
  #deferralTimer: NodeJS.Timeout | undefined
  /** Tasks of `waitUntil` that are not done: they may still read the body. */
  #tasks = 0

  constructor(connection: Connection, facts: RequestFacts, application: ExchangeApplication, logger: Logger) {
    this.#connection = connection
    this.facts = facts
    this.context = application.context
    this.#application = application
    this.#logger = logger
    application.opened()
    connection.open(this)
  }

  /** The context that its handler gets, made when it is called. */
  get handlerContext(): HandlerContext {
    this.#handlerContext ??= new HandlerContext(this)
    return this.#handlerContext
  }

  /** The request's signal, made when it is first asked for; aborted when the client leaves before the response is complete. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      this.#signalContext = new CallContext()
      if (this.#signalReason !== undefined) this.#controller.abort(this.#signalReason)
    }
    return this.#controller.signal
  }

  /** Whether nobody waits for the response any more. */
  get aborted(): boolean {
    return this.#aborted
  }

  get unanswered(): boolean {
    return this.#response === undefined && !this.#aborted
  }

  get done(): boolean {
    return this.#ended
  }

  /** Resolves when the response was handed over in full or given up. */
  get ended(): Promise<void> {
    this.#whenEnded ??= deferred()
    if (this.#ended) this.#whenEnded.resolve()
    return this.#whenEnded.promise
  }

  /** Resolves when the response was handed over in full or given up, and the tasks of `waitUntil` are done. */
  async released(): Promise<void> {
    await this.ended
    await this.#handlerContext?.settled()
  }

  /** Gives it its response, which is sent when those before it have been. A second one is dropped, as one for a client that left. */
  answer(response: Response): void {
    if (!this.unanswered) {
      this.context.run(discardBody, response, this.#signalReason)
      return
    }
    this.#response = response
    this.#connection.advance()
  }

  /** Counts a task of `waitUntil` until it is done, and lets the server wait for it. */
  addTask(task: Promise<unknown>): void {
    this.#tasks++
    const done = () => {
      this.#tasks--
    }
    task.then(done, done)
    this.#application.inBackground(task)
  }

  /**
   * A body that is read while the response goes out, as by an echo, is no reason to announce the end: a client that is told may stop
   * sending. Should its reader stop, the connection ends without having been announced, which clients have to expect anyway.
   */
  persists(complete: boolean): boolean {
    const { upload } = this
    if (upload === undefined || upload.over) return this.facts.persistent
    const mayBeRead = !complete || this.#tasks > 0
    if (mayBeRead && upload.read) return this.facts.persistent
    if (!upload.drainable) this.makeLast()
    if (mayBeRead) upload.expectReader()
    return this.facts.persistent
  }

  /** Makes it the last of its connection, which is closed after the response, and not listened to from now on. */
  makeLast(): void {
    this.facts = { ...this.facts, persistent: false }
    this.#connection.ignoreInput()
  }

  /** Makes it the handshake of a WebSocket: nothing but frames comes behind it. */
  offer(handshake: Handshake): void {
    this.#handshake = handshake
    this.makeLast()
  }

  /** Says that the answer comes from elsewhere, when the handler returns the response of what this resolves to. */
  async defer(options: DeferOptions): Promise<Deferral> {
    const timeout = timeoutOf(options)
    if (this.#turn !== undefined) throw notDeferrable('it was deferred before')
    if (!this.unanswered) throw this.#signalReason ?? notDeferrable('it was answered before')
    if (this.#connection.upload !== undefined) throw notDeferrable('its body has to be read to its end before')
    // Others close the connection, whoever answers first.
    this.makeLast()
    this.#turn = deferred()
    if (this.#connection.isFirst(this)) this.#turn.resolve()
    await this.#turn.promise
    await this.#connection.outbox.settled()
    if (!this.unanswered) throw this.#signalReason ?? notDeferrable('it was answered before')
    const { method, http10 } = this.facts
    const token = this.#connection.token({ kind: 'request', deadline: Date.now() + timeout, method, http10 })
    this.#deferral = new PendingDeferral(token, timeout)
    return this.#deferral
  }

  /** Answers without the handler; what the client sent behind the request is not looked at. */
  refuse(response: Response): void {
    this.makeLast()
    this.answer(response)
  }

  /** It is its turn: sends the response once it is there. */
  begin(): void {
    this.#turn?.resolve()
    if (this.#response === undefined || this.#begun) return
    this.#begun = true
    if (this.#deferral?.accepts(this.#response)) return this.#leaveTo(this.#deferral)
    if (this.#handshake?.accepts(this.#response)) {
      this.#end()
      this.#connection.finish(this, true)
      return this.#handshake.open(this.#response)
    }
    this.#handshake?.reject(`answered with ${this.#response.status}`)
    const plain = plainResponseOf(this.#response)
    if (this.upload !== undefined && plain !== undefined) this.persists(true)
    const sent = plain === undefined ? undefined : sendPlain(plain, this.facts, this)
    if (sent === undefined) void this.#send(this.#response)
    else this.#finish(sent)
  }

  /** Nobody waits for the response any more. */
  abort(reason: DOMException): void {
    if (this.#deferralTimer !== undefined) {
      this.cancelDeferralTimer()
      this.abortSignal(reason)
    }
    if (this.#aborted || this.#ended) return
    this.#aborted = true
    this.#turn?.reject(reason)
    this.abortSignal(reason)
    if (this.#body !== undefined) this.context.run(cancelBody, this.#body, reason)
    else if (this.#response !== undefined && !this.#begun) this.context.run(discardBody, this.#response, reason)
    if (!this.#begun) this.#end()
  }

  cancelDeferralTimer(): void {
    clearTimeout(this.#deferralTimer)
    this.#deferralTimer = undefined
    if (this.#ended) this.#runEndings()
  }

  /** Tells the handler that there is no sense in going on. */
  abortSignal(reason: DOMException): void {
    this.#signalReason ??= reason
    const controller = this.#controller
    if (controller !== undefined) this.#signalContext?.run(() => controller.abort(reason))
    this.#runEndings()
  }

  whenEnding(action: () => void): () => void {
    // A deferred one goes on until it is answered or given up.
    const over = this.#ended && this.#deferralTimer === undefined
    if (over || this.#signalReason !== undefined || this.#connection.leaving) {
      action()
      return () => {}
    }
    this.#endings ??= new Set()
    this.#endings.add(action)
    return () => this.#endings?.delete(action)
  }

  goAway(): void {
    this.#runEndings()
  }

  write(bytes: Uint8Array): void {
    if (!this.#aborted) this.#connection.outbox.write(bytes)
  }

  writeShared(bytes: Uint8Array): void {
    if (!this.#aborted) this.#connection.outbox.writeShared(bytes)
  }

  undelivered(now: number): number {
    return this.#connection.outbox.undelivered(now)
  }

  writable(): Promise<void> | undefined {
    return this.#connection.outbox.writable()
  }

  /** The answer comes from elsewhere, or in time it is that there was none. */
  #leaveTo({ timeout }: PendingDeferral): void {
    this.#handshake?.reject('left to others')
    this.#deferralTimer = setTimeout(() => {
      this.cancelDeferralTimer()
      this.#logger.warn?.(`mongrel2-fetch: no deferred answer came within ${timeout} ms: answered with 504`)
      const late = plainResponseOf(responseOf(timedOut()))
      if (late !== undefined) sendPlain(late, this.facts, this)
      this.abortSignal(new DOMException(`no answer came within ${timeout} ms`, 'TimeoutError'))
      this.#connection.finish(this, false)
    }, timeout).unref()
    this.#end()
    this.#connection.defer(this)
  }

  async #send(response: Response): Promise<void> {
    this.#finish(await this.#sendOr500(response))
  }

  #finish({ reusable, fault, slow = false }: Sent): void {
    if (fault !== undefined && !this.#aborted) {
      this.#logger.error?.(`mongrel2-fetch closed a connection amid a response: ${describeError(fault)}`)
    }
    this.#end()
    const { persistent, single } = this.facts
    this.#connection.finish(this, reusable && persistent && !single && !this.#aborted)
    if (this.#tasks === 0) this.upload?.drain()
    if (slow) this.#connection.closeIfStalled()
  }

  async #sendOr500(response: Response): Promise<Sent> {
    const reading = (body: OpenBody) => {
      this.#body = body
    }
    try {
      return await this.context.run(sendResponse, response, this.facts, this, reading)
    } catch (error) {
      if (!this.#aborted)
        this.#logger.error?.(
          `mongrel2-fetch answered 500 for a response that could not be sent: ${describeError(error)}`,
        )
      this.context.run(discardBody, response, error)
      return await sendResponse(responseOf(handlerFailed()), this.facts, this, reading)
    }
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#whenEnded?.resolve()
    this.#application.closed()
    if (this.#deferralTimer === undefined) this.#runEndings()
  }

  #runEndings(): void {
    const endings = this.#endings
    this.#endings = undefined
    for (const action of endings ?? []) action()
  }
}
