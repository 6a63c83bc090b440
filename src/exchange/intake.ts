import { join } from 'node:path'
import type { Connection } from '../connection/connection.ts'
import type { MessageIntake } from '../connection/epoch.ts'
import { semanticsOf } from '../connection/request-semantics.ts'
import { MessageSocket } from '../message-socket/socket.ts'
import type { EndpointSettings } from '../options/endpoint.ts'
import { lightRequestsAreKnown } from '../platform/globals.ts'
import type { UploadInfo } from '../platform/handler.ts'
import { HandlerEnv, LazyMessageInfo, type MessageHead, MessageSource } from '../platform/handler-arguments.ts'
import * as outcomes from '../platform/outcomes.ts'
import { createRequest } from '../platform/request.ts'
import { describeError, messageOf, ThrottledWarning } from '../runtime/log.ts'
import { Handshake } from '../websocket/handshake.ts'
import { readHandshake } from '../websocket/handshake-request.ts'
import { TOKEN } from '../wire/http.ts'
import type { Message } from '../wire/message.ts'
import type { Application } from './application.ts'
import { Exchange } from './exchange.ts'
import type { Settings } from './options.ts'
import { agrees, type Framing, framingOf, uploadHeadersOf } from './request/framing.ts'
import { originOf, urlOf } from './request/target.ts'
import { StoredUpload } from './upload/stored-upload.ts'
import { StreamUpload } from './upload/stream-upload.ts'
import { deleteUpload, fitsTempStore, openUpload, type Upload, watchUploadSize } from './upload/upload.ts'

type RequestBody = Uint8Array | ReadableStream<Uint8Array> | null

/** A request whose head was read and is valid. */
interface RequestHead extends MessageHead {
  readonly connection: Connection
  readonly exchange: Exchange
  readonly framing: Framing
}

/** Turns request messages into exchanges; refuses malformed and ambiguous ones. */
export class Intake implements MessageIntake {
  readonly #settings: Settings & EndpointSettings
  readonly #application: Application
  readonly #warning: ThrottledWarning
  readonly #lightRequests = lightRequestsAreKnown()
  /** Whether `maxBodySize` is set. */
  readonly #bounded: boolean
  /** Throttled, since clients may make a listener fail. */
  readonly #listenerFailure: ThrottledWarning
  readonly #reportListener = (error: unknown): void =>
    this.#listenerFailure.say(() => `mongrel2-fetch: a listener of a WebSocket failed: ${describeError(error)}`)
  #stopping = false

  constructor(settings: Settings & EndpointSettings, application: Application) {
    this.#settings = settings
    this.#application = application
    this.#bounded = settings.maxBodySize < Number.MAX_SAFE_INTEGER
    this.#warning = new ThrottledWarning(settings.logger)
    this.#listenerFailure = new ThrottledWarning(settings.logger, 'error')
  }

  stop(): void {
    this.#stopping = true
  }

  accept(message: Message, connection: Connection): void {
    const { shared, maxMessageSize, maxBodySize } = this.#settings
    const upload = uploadHeadersOf(message)
    if (shared && upload.stage === 'start') return this.#acceptSharedStart(message, upload.path, connection)
    const exchange = this.#open(message, connection)
    if (message.cut) return this.#refuse(exchange, outcomes.tooLarge(maxMessageSize))
    const head = this.#read(message, connection, exchange)
    if (message.kind === 'streamed') return this.#stream(message, exchange, head, connection)
    if (upload.stage === 'start' || (shared && upload.stage === 'done')) {
      const stored = this.#store(upload.path, exchange, head, connection)
      return upload.stage === 'done' ? stored.receive(message) : undefined
    }
    if ('status' in head) return this.#refuse(exchange, head)
    if (upload.stage === 'done') {
      return this.#refuseForged(
        message,
        exchange,
        'its start did not come here (does another process pull from this send_spec? then set the option shared)',
      )
    }
    if (upload.stage === 'forged') return this.#refuseForged(message, exchange, upload.reason)
    const { body } = message
    if (!agrees(head.framing, body.length)) return this.#refuse(exchange, outcomes.lengthMismatch())
    if (body.length > maxBodySize) return this.#refuse(exchange, outcomes.tooLarge(maxBodySize))
    this.#run(head, body.length === 0 && head.framing.length === undefined ? null : body)
  }

  acceptHandshake(message: Message, connection: Connection): void {
    const exchange = this.#open(message, connection)
    if (connection.leaving) return this.#refuse(exchange, outcomes.stopping())
    const head = this.#read(message, connection, exchange)
    if ('status' in head) return this.#refuse(exchange, head)
    const handshakeRequest = readHandshake(message)
    if ('status' in handshakeRequest) return this.#refuse(exchange, handshakeRequest)
    const request = this.#createRequest(head, null)
    if (request === undefined) return
    const handshake = new Handshake(handshakeRequest, head.url, connection, this.#settings, this.#reportListener)
    exchange.offer(handshake)
    connection.frames = handshake
    const mongrel2 = new LazyMessageInfo(head)
    handshake.register(request, mongrel2)
    this.#application.run(exchange, request, new HandlerEnv(mongrel2))
  }

  acceptSocket(message: Message, connection: Connection): boolean {
    const { messages } = this.#settings
    if (messages === undefined || this.#stopping || connection.leaving) return false
    const socket = new MessageSocket(message, connection, messages, this.#settings, this.#application.context)
    connection.frames = socket
    connection.ignoreInput()
    socket.begin(message)
    return true
  }

  /** Closes the connection, since the request of the part is not known. */
  refusePart(message: Message, connection: Connection): void {
    this.#application.counters.rejected++
    const upload = new StreamUpload(this.#settings, undefined, connection, () => {})
    connection.upload = upload
    connection.close()
    upload.receive(message)
  }

  /** Deletes the file of a dropped message that ends an upload. */
  discard(message: Message): void {
    const upload = uploadHeadersOf(message)
    if (upload.stage === 'done') this.#application.inBackground(deleteUpload(upload.path, this.#settings.uploads))
  }

  #open(message: Message, connection: Connection): Exchange {
    return new Exchange(connection, semanticsOf(message), this.#application, this.#settings.logger)
  }

  /** Answers with a refusal, after which the connection closes. */
  #refuse(exchange: Exchange, refusal: outcomes.Refusal): void {
    this.#application.counters.rejected++
    exchange.refuse(outcomes.responseOf(refusal))
  }

  #read(message: Message, connection: Connection, exchange: Exchange): RequestHead | outcomes.Refusal {
    if (this.#stopping) return outcomes.stopping()
    if (!TOKEN.test(message.headers.own('METHOD') ?? '')) return outcomes.badRequest('The method is none')
    const framing = framingOf(message)
    if (typeof framing === 'string') return outcomes.badRequest(framing)
    const { host, trustProxy } = this.#settings
    const origin = originOf(message, exchange.semantics.http10, host, trustProxy)
    if (typeof origin === 'string') return outcomes.badRequest(origin)
    const uri = message.headers.own('URI')
    if (uri?.startsWith('/') !== true) return outcomes.badRequest('The target is no path')
    const url = urlOf(origin, uri, trustProxy)
    if (url === undefined) return outcomes.badRequest('Host and target are no URL')
    return { message, connection, exchange, framing, origin, url }
  }

  /** Makes the Request. Answers 400 where the platform's constructors refuse a part of it. */
  #createRequest(head: RequestHead, body: RequestBody, uploaded = false): Request | undefined {
    try {
      return createRequest(new MessageSource(head, body, uploaded), this.#lightRequests)
    } catch (error) {
      this.#refuse(head.exchange, outcomes.badRequest(messageOf(error)))
      return undefined
    }
  }

  #run(head: RequestHead, body: RequestBody, upload?: UploadInfo): void {
    const request = this.#createRequest(head, body, upload !== undefined)
    if (request !== undefined) {
      this.#application.run(head.exchange, request, new HandlerEnv(new LazyMessageInfo(head, upload)))
    }
  }

  /** Refuses a body that is too large at its start. Any other is handled at its end, which may go to another process. */
  #acceptSharedStart(message: Message, path: string, connection: Connection): void {
    const { maxBodySize } = this.#settings
    const framing = framingOf(message)
    if (typeof framing === 'string' || !this.#bounded) return
    const large = (framing.length ?? 0) > maxBodySize
    if (!large && !framing.chunked) return
    const refusal = large ? outcomes.tooLarge(maxBodySize) : outcomes.lengthRequired()
    this.#store(path, this.#open(message, connection), refusal, connection)
  }

  /** Waits for the end of a stored body, so that the connection stays until the client has sent all of it. */
  #store(path: string, exchange: Exchange, head: RequestHead | outcomes.Refusal, connection: Connection): StoredUpload {
    const received = () => this.#application.inBackground(connection.check(finished))
    const stop = () => this.#refuse(exchange, outcomes.stopping())
    const upload = new StoredUpload(path, this.#settings.uploads, connection, received, stop)
    connection.upload = upload
    const finished = 'status' in head ? this.#refuseStored(upload, exchange, head) : this.#receiveStored(upload, head)
    finished.catch(() => {}) // logged by `inBackground` once the end has come
    return upload
  }

  /** Receives a stored body, from its start to the handler or a refusal. */
  async #receiveStored(stored: StoredUpload, head: RequestHead): Promise<void> {
    const { uploads, maxBodySize } = this.#settings
    const { path } = stored
    const { exchange } = head
    const refusal = this.#refusalAtStart(head, path)
    if (refusal !== undefined) return await this.#refuseStored(stored, exchange, refusal)
    this.#watchSize(head, path)
    const asked = this.#askHook(head)

    // Mongrel2 stores one body of a connection at a time, so the next message has to be its end.
    const end = await stored.ended
    const headers = uploadHeadersOf(end)
    if (headers.stage !== 'done' || headers.path !== path) {
      return this.#refuseForged(end, exchange, `expected the end of ${path}`)
    }
    await asked
    if (!exchange.unanswered) return await deleteUpload(path, uploads)

    const upload = await this.#openStored(path, exchange)
    if (upload === undefined) return
    const { size } = upload.info
    const length = head.framing.length ?? size
    if (!exchange.aborted) {
      if (length > maxBodySize) this.#refuse(exchange, outcomes.tooLarge(maxBodySize))
      else if (size < length) this.#refuse(exchange, outcomes.lengthMismatch())
      else if (size === length || (await this.#truncate(upload, length, exchange))) {
        this.#run({ ...head, message: end }, upload.stream(), upload.info)
        return this.#application.inBackground(exchange.released().then(() => upload.release()))
      }
    }
    await upload.release()
  }

  /** Refuses a body at its start, and deletes its file at its end. */
  async #refuseStored(stored: StoredUpload, exchange: Exchange, refusal: outcomes.Refusal): Promise<void> {
    this.#refuse(exchange, refusal)
    await stored.ended
    await deleteUpload(stored.path, this.#settings.uploads)
  }

  /** Why a body is refused at its start. */
  #refusalAtStart({ framing }: RequestHead, path: string): outcomes.Refusal | undefined {
    const { uploads, maxBodySize } = this.#settings
    if (fitsTempStore(path, uploads.tempStore)) {
      return (framing.length ?? 0) > maxBodySize ? outcomes.tooLarge(maxBodySize) : undefined
    }
    this.#warning.say(
      () =>
        `mongrel2-fetch answered 500: Mongrel2 stores an upload as ${JSON.stringify(path)}, but the option uploads.tempStore ` +
        `is ${JSON.stringify(uploads.tempStore)}; it has to be the value of Mongrel2's setting upload.temp_store`,
    )
    return outcomes.uploadUnreadable()
  }

  /** Refuses a body without a length as soon as it is too large. */
  #watchSize({ framing, exchange }: RequestHead, path: string): void {
    const { uploads, maxBodySize } = this.#settings
    if (!framing.chunked || !this.#bounded) return
    const stop = watchUploadSize(join(uploads.chroot, path), maxBodySize, () => {
      if (exchange.unanswered) this.#refuse(exchange, outcomes.tooLarge(maxBodySize))
    })
    void exchange.ended.then(stop)
  }

  async #askHook(head: RequestHead): Promise<void> {
    const { onUploadStart } = this.#settings
    const request = onUploadStart && this.#createRequest(head, null)
    if (onUploadStart === undefined || request === undefined) return
    const response = await this.#application.ask(onUploadStart, request, head.exchange)
    if (response !== undefined) head.exchange.refuse(response)
  }

  /** Opens the file of a stored body. Refuses the request and returns undefined where that fails. */
  async #openStored(path: string, exchange: Exchange): Promise<Upload | undefined> {
    const { uploads } = this.#settings
    try {
      const upload = await openUpload(path, uploads)
      if (typeof upload !== 'string') return upload
      this.#warning.say(() => `mongrel2-fetch refused an upload: ${upload}`)
      this.#refuse(exchange, outcomes.uploadNoFile())
    } catch (error) {
      this.#warning.say(() => `mongrel2-fetch answered 500: ${messageOf(error)}`)
      this.#refuse(exchange, outcomes.uploadUnreadable())
      await deleteUpload(path, uploads)
    }
    return undefined
  }

  /**
   * Cuts off input that follows a body in its file: Mongrel2 writes everything that it reads together with the end of a body. Pipelined requests
   * are lost in part, so the connection closes after this answer; the client can send them again (RFC 9112, section 9.3.2).
   */
  async #truncate(upload: Upload, length: number, exchange: Exchange): Promise<boolean> {
    exchange.makeLast()
    try {
      await upload.truncate(length)
      return true
    } catch (error) {
      this.#warning.say(
        () =>
          `mongrel2-fetch answered 500: the file of a stored body cannot be cut to its length: ${describeError(error)}`,
      )
      this.#refuse(exchange, outcomes.uploadUnreadable())
      return false
    }
  }

  #refuseForged(message: Message, exchange: Exchange, reason: string): void {
    this.#warning.say(
      () =>
        `mongrel2-fetch refused forged upload headers from ${message.headers.own('REMOTE_ADDR')} for ${message.path}: ${reason}`,
    )
    this.#refuse(exchange, outcomes.forgedUpload())
  }

  /** Receives a streamed body. A refused one is read to its end, too. */
  #stream(message: Message, exchange: Exchange, head: RequestHead | outcomes.Refusal, connection: Connection): void {
    const length = 'status' in head ? undefined : head.framing.length
    const upload = new StreamUpload(this.#settings, length, connection, (refusal) => {
      exchange.abortSignal(new DOMException(refusal.reason, 'AbortError'))
      this.#refuse(exchange, refusal)
      if (exchange.done) connection.close()
    })
    connection.upload = upload
    connection.secure = message.headers.own('URL_SCHEME') === 'https'
    exchange.upload = upload
    upload.receive(message)
    const { maxBodySize } = this.#settings
    if ('status' in head) return this.#refuse(exchange, head)
    if ((length ?? 0) > maxBodySize) return this.#refuse(exchange, outcomes.tooLarge(maxBodySize))
    if (!exchange.unanswered) return
    this.#run(head, upload.stream())
    this.#application.inBackground(exchange.released().then(() => upload.drain()))
  }
}
