import { join } from 'node:path'
import type { Connection } from '../connection/connection.ts'
import type { MessageIntake } from '../connection/epoch.ts'
import { semanticsOf } from '../connection/request-semantics.ts'
import { MessageSocket } from '../message-socket/socket.ts'
import type { RequestObserver } from '../operations/request-entry.ts'
import type { EndpointSettings } from '../options/endpoint.ts'
import type { UploadInfo } from '../platform/handler.ts'
import { HandlerEnv, LazyMessageInfo, type MessageHead, MessageSource } from '../platform/handler-arguments.ts'
import * as outcomes from '../platform/outcomes.ts'
import { createRequest, type RequestSource } from '../platform/request.ts'
import { describeError, messageOf, ThrottledWarning } from '../runtime/log.ts'
import { fs } from '../runtime/process/node-fs.ts'
import { delay } from '../runtime/promises.ts'
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
import { deleteUpload, fitsTempStore, openUpload, type Upload } from './upload/upload.ts'

/** How often to read the size of a growing file, in milliseconds. */
const SIZE_INTERVAL = 100

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
  readonly #observer: RequestObserver | undefined
  /** Whether `maxBodySize` is set. */
  readonly #bounded: boolean
  /** Throttled, since clients may make a listener fail. */
  readonly #listenerFailure: ThrottledWarning
  readonly #reportListener = (error: unknown): void =>
    this.#listenerFailure.say(() => `mongrel2-fetch: a listener of a WebSocket failed: ${describeError(error)}`)
  #stopping = false

  /** @param observer Takes the entries of its requests, beside `onRequestEnd`. */
  constructor(settings: Settings & EndpointSettings, application: Application, observer?: RequestObserver) {
    this.#settings = settings
    this.#application = application
    this.#observer = observer
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
      const reason =
        'its start did not come here (does another process pull from this send_spec? then set the option shared)'
      return this.#refuseForged(message, exchange, reason)
    }
    if (upload.stage === 'forged') return this.#refuseForged(message, exchange, upload.reason)
    const { body } = message
    if (!agrees(head.framing, body.length)) return this.#refuse(exchange, outcomes.lengthMismatch())
    if (body.length > maxBodySize) return this.#refuse(exchange, outcomes.tooLarge(maxBodySize))
    this.#run(head, head.framing.length === undefined ? null : body)
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
    const observed = this.#application.observe(message, this.#observer)
    return new Exchange(connection, semanticsOf(message), this.#application, this.#settings.logger, observed)
  }

  /** Answers with a refusal, after which the connection closes. */
  #refuse(exchange: Exchange, refusal: outcomes.Refusal): void {
    this.#application.counters.rejected++
    exchange.refuse(outcomes.responseOf(refusal))
  }

  #read(message: Message, connection: Connection, exchange: Exchange): RequestHead | outcomes.Refusal {
    if (this.#stopping) return outcomes.stopping()
    const method = message.headers.own('METHOD')
    if (!TOKEN.test(method ?? '')) return outcomes.badRequest('The method is none')
    const framing = framingOf(message)
    if (typeof framing === 'string') return outcomes.badRequest(framing)
    const { host, trustProxy } = this.#settings
    const { http10 } = exchange.semantics
    const origin = originOf(message, http10, host, trustProxy)
    if (typeof origin === 'string') return outcomes.badRequest(origin)
    const uri = message.headers.own('URI')
    exchange.observed?.read(method, origin.remoteAddress, uri ?? '', http10)
    if (uri?.startsWith('/') !== true) return outcomes.badRequest('The target is no path')
    const url = urlOf(origin, uri, trustProxy)
    if (url === undefined) return outcomes.badRequest('Host and target are no URL')
    return { message, connection, exchange, framing, origin, url }
  }

  /** Makes the Request. Answers 400 where the platform's constructors refuse a part of it. */
  #createRequest(head: RequestHead, body: RequestSource['body'], uploaded = false): Request | undefined {
    try {
      return createRequest(new MessageSource(head, body, uploaded), this.#application.lightRequests)
    } catch (error) {
      this.#refuse(head.exchange, outcomes.badRequest(messageOf(error)))
      return undefined
    }
  }

  #run(head: RequestHead, body: RequestSource['body'], upload?: UploadInfo): void {
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

  /** Begins to receive a stored body. The connection stays until the client has sent all of it. */
  #store(path: string, exchange: Exchange, head: RequestHead | outcomes.Refusal, connection: Connection): StoredUpload {
    const received = () => this.#application.inBackground(connection.check(finished))
    const stop = () => this.#refuse(exchange, outcomes.stopping())
    const upload = new StoredUpload(path, this.#settings.uploads, connection, received, stop)
    connection.upload = upload
    const finished = this.#receiveStored(upload, exchange, head)
    finished.catch(() => {}) // logged by `inBackground` once the end has come
    return upload
  }

  /** Receives a stored body: checks its start, waits for its end, checks the file, then calls the handler or refuses the request. */
  async #receiveStored(stored: StoredUpload, exchange: Exchange, head: RequestHead | outcomes.Refusal): Promise<void> {
    const { uploads, maxBodySize, onUploadStart } = this.#settings
    const { path } = stored
    const start = 'status' in head ? head : this.#checkStart(head, path)
    if ('status' in start) {
      this.#refuse(exchange, start)
      await stored.ended
      return await deleteUpload(path, uploads)
    }
    if (start.framing.chunked && this.#bounded) void this.#watchSize(exchange, join(uploads.chroot, path))
    const request = onUploadStart && this.#createRequest(start, null)
    const asked = onUploadStart && request && this.#application.ask(onUploadStart, request, exchange)

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
    if (exchange.observed !== undefined) exchange.observed.received = size
    const length = start.framing.length ?? size
    if (exchange.unanswered && length > maxBodySize) this.#refuse(exchange, outcomes.tooLarge(maxBodySize))
    if (exchange.unanswered && size < length) this.#refuse(exchange, outcomes.lengthMismatch())
    if (exchange.unanswered && size > length) await this.#truncate(upload, length, exchange)
    if (!exchange.unanswered) return await upload.release()
    this.#run({ ...start, message: end }, upload, upload.info)
    this.#application.inBackground(exchange.released().then(() => upload.release()))
  }

  /** Returns the head, or why the body is refused at its start. */
  #checkStart(head: RequestHead, path: string): RequestHead | outcomes.Refusal {
    const { uploads, maxBodySize } = this.#settings
    if (fitsTempStore(path, uploads.tempStore)) {
      return (head.framing.length ?? 0) > maxBodySize ? outcomes.tooLarge(maxBodySize) : head
    }
    this.#warning.say(
      () =>
        `mongrel2-fetch answered 500: Mongrel2 stores an upload as ${JSON.stringify(path)}, but the option uploads.tempStore ` +
        `is ${JSON.stringify(uploads.tempStore)}; it has to be the value of Mongrel2's setting upload.temp_store`,
    )
    return outcomes.uploadUnreadable()
  }

  /** Refuses a body without a length as soon as its file is too large. */
  async #watchSize(exchange: Exchange, path: string): Promise<void> {
    const { maxBodySize } = this.#settings
    while (exchange.unanswered) {
      await delay(SIZE_INTERVAL)
      // A file that cannot be read is refused at the end of the upload.
      const { size } = await fs.promises.stat(path).catch(() => ({ size: 0 }))
      if (size > maxBodySize && exchange.unanswered) this.#refuse(exchange, outcomes.tooLarge(maxBodySize))
    }
  }

  /** Opens the file of a stored body. Refuses the request and returns undefined where that fails. */
  async #openStored(path: string, exchange: Exchange): Promise<Upload | undefined> {
    const { uploads } = this.#settings
    try {
      const upload = await openUpload(path, uploads)
      if (typeof upload !== 'string') return upload
      this.#refuseUpload(exchange, outcomes.uploadNoFile(), () => `refused an upload: ${upload}`)
    } catch (error) {
      this.#refuseUpload(exchange, outcomes.uploadUnreadable(), () => `answered 500: ${messageOf(error)}`)
      await deleteUpload(path, uploads)
    }
    return undefined
  }

  /**
   * Cuts off input that follows a body in its file: Mongrel2 writes all that it reads together with the body's end. Pipelined requests are lost in
   * part, so the connection closes after this answer; the client can send them again (RFC 9112, section 9.3.2).
   */
  async #truncate(upload: Upload, length: number, exchange: Exchange): Promise<void> {
    exchange.makeLast()
    await upload.truncate(length).catch((error: unknown) => {
      const why = () => `answered 500: the file of a stored body cannot be cut to its length: ${describeError(error)}`
      this.#refuseUpload(exchange, outcomes.uploadUnreadable(), why)
    })
  }

  #refuseForged({ headers, path }: Message, exchange: Exchange, reason: string): void {
    const from = `${headers.own('REMOTE_ADDR')} for ${path}`
    const why = () => `refused forged upload headers from ${from}: ${reason}`
    this.#refuseUpload(exchange, outcomes.forgedUpload(), why)
  }

  /** @param why What `mongrel2-fetch` did and why, for the log. */
  #refuseUpload(exchange: Exchange, refusal: outcomes.Refusal, why: () => string): void {
    this.#warning.say(() => `mongrel2-fetch ${why()}`)
    this.#refuse(exchange, refusal)
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
