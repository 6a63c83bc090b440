import type { StreamedBody } from '../connection/carried.ts'
import type { Connection } from '../connection/connection.ts'
import type { RequestSemantics } from '../connection/request-semantics.ts'
import type { ObservedRequest } from '../operations/request-entry.ts'
import type { DeferOptions, Deferral } from '../platform/handler.ts'
import { HandlerContext, type RequestExchange } from '../platform/handler-arguments.ts'
import { LazyBody, plainResponseOf } from '../platform/light-response.ts'
import { handlerFailed, responseOf, timedOut } from '../platform/outcomes.ts'
import { CallContext } from '../runtime/call-context.ts'
import { describeError, type Logger } from '../runtime/log.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'
import type { EventSink, EventStream, EventStreamEnd } from '../topic/event-stream.ts'
import type { Handshake } from '../websocket/handshake.ts'
import { checkDeferOptions, notDeferrable, PendingDeferral } from './deferral.ts'
import { sendEvents } from './response/event-response.ts'
import { sendPlain } from './response/plain-response.ts'
import type { ResponseSink, Sent } from './response/response-sink.ts'
import { cancelBody, discardBody, type OpenBody, sendResponse } from './response/send-response.ts'

/** What an exchange needs of the application. */
interface ExchangeApplication {
  /** The context of the server's start. */
  readonly context: CallContext
  /** An exchange began. */
  opened(): void
  /** An exchange ended: its response is written in full or given up. */
  closed(): void
  /** Makes the server wait for work, and logs its failure. */
  inBackground(promise: Promise<unknown>): void
}

/** One request and its response on a connection. */
export class Exchange implements ResponseSink, EventSink, RequestExchange {
  /** The context in which its response's streams are read and cancelled. */
  context: CallContext
  semantics: RequestSemantics
  /** The request's body, where Mongrel2 streams it. */
  upload: StreamedBody | undefined
  /** The place that its handler has: one for requests whose body is still being sent, or another. */
  place: 'body' | 'other' | undefined
  /** What is observed of it; undefined if nobody observes requests. */
  readonly observed: ObservedRequest | undefined
  readonly #connection: Connection
  readonly #logger: Logger
  readonly #application: ExchangeApplication
  #handlerContext: HandlerContext | undefined
  #whenEnded: Deferred<void> | undefined
  /** The response until it is begun. */
  #response: Response | undefined
  /** How far the response is. */
  #progress: 'unanswered' | 'answered' | 'begun' = 'unanswered'
  #ended = false
  #aborted = false
  #signalReason: DOMException | undefined
  #controller: AbortController | undefined
  /** The context of the code that first asked for the signal; its listeners are called there. */
  #signalContext: CallContext | undefined
  /** The body that is read. */
  #body: OpenBody | undefined
  /** The events that are sent as the body. */
  #events: EventStream | undefined
  /** Whether the connection can be used again after these. */
  #reusable = false
  /** The actions of `whenEnding`. */
  #endings: Set<() => void> | undefined
  /** The handshake that its response may accept. */
  #handshake: Handshake | undefined
  /** Resolves when the earlier responses are sent, for `defer`. */
  #turn: Deferred<void> | undefined
  #deferral: PendingDeferral | undefined
  #deferralTimer: NodeJS.Timeout | undefined
  /** Unfinished tasks of `waitUntil`, which may still read the body. */
  #tasks = 0

  constructor(
    connection: Connection,
    semantics: RequestSemantics,
    application: ExchangeApplication,
    logger: Logger,
    observed: ObservedRequest | undefined,
  ) {
    this.observed = observed
    this.#connection = connection
    this.semantics = semantics
    this.context = application.context
    this.#application = application
    this.#logger = logger
    application.opened()
    connection.open(this)
  }

  /** The handler's third argument, made on first use. */
  get handlerContext(): HandlerContext {
    this.#handlerContext ??= new HandlerContext(this)
    return this.#handlerContext
  }

  /** The request's signal, made on first use; aborted when the client leaves before the response is complete. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      this.#signalContext = new CallContext()
      if (this.#signalReason !== undefined) this.#controller.abort(this.#signalReason)
    }
    return this.#controller.signal
  }

  /** Whether the response was given up. */
  get aborted(): boolean {
    return this.#aborted
  }

  get unanswered(): boolean {
    return this.#progress === 'unanswered' && !this.#aborted
  }

  get done(): boolean {
    return this.#ended
  }

  /** Resolves when the response is written in full or given up. */
  get ended(): Promise<void> {
    this.#whenEnded ??= deferred()
    if (this.#ended) this.#whenEnded.resolve()
    return this.#whenEnded.promise
  }

  /** Resolves when the response is written in full or given up, and the tasks of `waitUntil` are done. */
  async released(): Promise<void> {
    await this.ended
    await this.#handlerContext?.settled()
  }

  /** Sets the response, which is sent after the earlier ones. Discards a second one, or one for a client that has left. */
  answer(response: Response): void {
    if (!this.unanswered) {
      this.context.run(discardBody, response, this.#signalReason)
      return
    }
    this.#response = response
    this.#progress = 'answered'
    this.#connection.advance()
  }

  /** Counts a task of `waitUntil` until it is done, and makes the server wait for it. */
  addTask(task: Promise<unknown>): void {
    this.#tasks++
    const done = () => {
      this.#tasks--
    }
    task.then(done, done)
    this.#application.inBackground(task)
  }

  /** While a body is read, as by an echo, the response announces no end of the connection: the client might stop sending. */
  persists(complete: boolean): boolean {
    const { upload } = this
    if (upload === undefined || upload.over) return this.semantics.persistent
    const mayBeRead = !complete || this.#tasks > 0
    if (mayBeRead && upload.read) return this.semantics.persistent
    if (!upload.drainable) this.makeLast()
    if (mayBeRead) upload.expectReader()
    return this.semantics.persistent
  }

  /** Makes it the last of its connection, which ignores input from now on and closes after the response. */
  makeLast(): void {
    this.semantics = { ...this.semantics, persistent: false }
    this.#connection.ignoreInput()
  }

  /** Makes it the handshake of a WebSocket, after which only frames come. */
  offer(handshake: Handshake): void {
    this.#handshake = handshake
    this.makeLast()
  }

  /** Prepares an answer by another process, which the handler chooses by returning the deferral's response. */
  async defer(options: DeferOptions): Promise<Deferral> {
    const { timeout } = checkDeferOptions(options)
    if (this.#turn !== undefined) throw notDeferrable('it was deferred before')
    if (!this.unanswered) throw this.#signalReason ?? notDeferrable('it was answered before')
    if (this.#connection.upload !== undefined) throw notDeferrable('its body has to be read to its end before')
    // Whoever answers closes the connection.
    this.makeLast()
    this.#turn = deferred()
    if (this.#connection.isFirst(this)) this.#turn.resolve()
    await this.#turn.promise
    await this.#connection.outbox.settled()
    if (!this.unanswered) throw this.#signalReason ?? notDeferrable('it was answered before')
    const { method, http10 } = this.semantics
    const token = this.#connection.token({ kind: 'request', deadline: Date.now() + timeout, method, http10 })
    this.#deferral = new PendingDeferral(token, timeout)
    return this.#deferral
  }

  /** Answers without the handler. Later input is ignored. */
  refuse(response: Response): void {
    this.makeLast()
    this.answer(response)
  }

  /** Sends the response if it is there: the earlier ones are sent. */
  begin(): void {
    this.#turn?.resolve()
    const response = this.#response
    if (response === undefined) return
    // An open stream holds nothing of the handler's but its body.
    this.#response = undefined
    this.#progress = 'begun'
    if (this.observed !== undefined) this.observed.from = this.#connection.outbox.position
    if (this.#deferral?.accepts(response)) return this.#defer(this.#deferral)
    const upgraded = this.#handshake?.accepts(response) === true
    if (this.observed !== undefined) this.observed.status = upgraded ? 101 : response.status
    if (this.#handshake !== undefined && upgraded) {
      this.#end()
      this.#connection.finish(this, true)
      return this.#handshake.open(response)
    }
    this.#handshake?.reject(`answered with ${response.status}`)
    this.#send(response)
  }

  abort(reason: DOMException): void {
    if (this.#deferralTimer !== undefined) {
      this.cancelDeferralTimer()
      this.abortSignal(reason)
    }
    if (this.#aborted || this.#ended) return
    this.#aborted = true
    this.#turn?.reject(reason)
    this.abortSignal(reason)
    this.#events?.end()
    if (this.#body !== undefined) this.context.run(cancelBody, this.#body, reason)
    if (this.#response !== undefined) this.context.run(discardBody, this.#response, reason)
    this.#response = undefined
    if (this.#progress !== 'begun') this.#end()
  }

  cancelDeferralTimer(): void {
    clearTimeout(this.#deferralTimer)
    this.#deferralTimer = undefined
    if (!this.#ended) return
    this.#runEndings()
    this.#observeEnd()
  }

  /** Aborts the signal, so that the handler can stop. */
  abortSignal(reason: DOMException): void {
    this.#signalReason ??= reason
    const controller = this.#controller
    if (controller !== undefined) this.#signalContext?.run(() => controller.abort(reason))
    this.#runEndings()
  }

  whenEnding(action: () => void): () => void {
    // A deferred exchange goes on until it is answered or given up.
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
    this.#events?.end()
  }

  write(bytes: Uint8Array): void {
    if (this.#aborted) return
    this.#connection.outbox.write(bytes)
    this.observed?.recording?.keep(bytes)
  }

  writeShared(bytes: Uint8Array): void {
    if (this.#aborted) return
    this.#connection.outbox.writeShared(bytes)
    this.observed?.recording?.keep(bytes)
  }

  undelivered(now: number): number {
    return this.#connection.outbox.undelivered(now)
  }

  writable(): Promise<void> | undefined {
    return this.#connection.outbox.writable()
  }

  eventsEnded(how: EventStreamEnd): void {
    const slow = how === 'slow'
    // Later, since a topic may be sending: the next request's handler is called when this is finished.
    queueMicrotask(() => this.#finish({ reusable: this.#reusable && !slow, slow }))
  }

  #send(response: Response): void {
    const plain = plainResponseOf(response)
    if (this.upload !== undefined && plain !== undefined && !(plain.body instanceof LazyBody)) this.persists(true)
    const sent = plain === undefined ? undefined : sendPlain(plain, this.semantics, this)
    if (sent !== undefined) return this.#finish(sent)
    void this.#sendOr500(response).then((result) => {
      if (result !== undefined) this.#finish(result)
    })
  }

  /** Waits for the answer of another process; sends 504 when none comes in time. */
  #defer({ timeout }: PendingDeferral): void {
    this.#handshake?.reject('deferred')
    this.#deferralTimer = setTimeout(() => {
      this.#logger.warn?.(`mongrel2-fetch: no deferred answer came within ${timeout} ms: answered with 504`)
      const late = plainResponseOf(responseOf(timedOut()))
      if (late !== undefined) sendPlain(late, this.semantics, this)
      if (this.observed !== undefined) this.observed.status = 504
      this.cancelDeferralTimer()
      this.abortSignal(new DOMException(`no answer came within ${timeout} ms`, 'TimeoutError'))
      this.#connection.finish(this, false)
    }, timeout).unref()
    this.#end()
    this.#connection.defer(this)
  }

  #finish({ reusable, fault, slow = false }: Sent): void {
    if (fault !== undefined && !this.#aborted) {
      this.#logger.error?.(`mongrel2-fetch closed a connection during a response: ${describeError(fault)}`)
    }
    this.#end()
    const { persistent, single } = this.semantics
    this.#connection.finish(this, reusable && persistent && !single && !this.#aborted)
    if (this.#tasks === 0) this.upload?.drain()
    if (slow) this.#connection.closeIfStalled()
  }

  /** Sends a response; undefined for events, which tell when they end. */
  async #sendOr500(response: Response): Promise<Sent | undefined> {
    const reading = (body: OpenBody) => {
      this.#body = body
    }
    const sending = (events: EventStream) => {
      this.#events = events
    }
    try {
      const sent = this.context.run(
        () =>
          sendEvents(response, this.semantics, this, sending) ?? sendResponse(response, this.semantics, this, reading),
      )
      if (typeof sent !== 'boolean') return await sent
      this.#reusable = sent
      // Nothing of the user's is called any more.
      this.context = this.#application.context
      return undefined
    } catch (error) {
      const why = describeError(error)
      if (!this.#aborted)
        this.#logger.error?.(`mongrel2-fetch answered 500 for a response that could not be sent: ${why}`)
      this.context.run(discardBody, response, error)
      if (this.observed !== undefined) this.observed.status = 500
      return await sendResponse(responseOf(handlerFailed()), this.semantics, this, reading)
    }
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#whenEnded?.resolve()
    this.#application.closed()
    if (this.#deferralTimer !== undefined) return
    this.#runEndings()
    this.#observeEnd()
  }

  /** The observed request is over when its response is published. */
  #observeEnd(): void {
    const { observed } = this
    if (observed === undefined) return
    if (this.upload !== undefined) observed.received = this.upload.received
    observed.aborted = this.#aborted
    this.#connection.outbox.whenPublished(observed)
  }

  #runEndings(): void {
    const endings = this.#endings
    this.#endings = undefined
    for (const action of endings ?? []) action()
  }
}
