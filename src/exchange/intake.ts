import { join } from 'node:path'
import type { Connection } from '../connection/connection.ts'
import type { MessageIntake } from '../connection/epoch.ts'
import { factsOf } from '../connection/request-semantics.ts'
import { MessageSocket } from '../message-socket/socket.ts'
import type { MessageHandlers } from '../message-socket/types.ts'
import { lightRequestsAreKnown } from '../platform/globals.ts'
import { createResponse } from '../platform/light-response.ts'
import { describeError, type Logger, ThrottledWarning } from '../runtime/log.ts'
import { Handshake } from '../websocket/handshake.ts'
import { readHandshake } from '../websocket/handshake-request.ts'
import { registerHandshake } from '../websocket/upgrade.ts'
import type { Message } from '../wire/message.ts'
import type { Application } from './application.ts'
import { Exchange } from './exchange.ts'
import { agrees, type Framing, framingOf, isStored } from './request/framing.ts'
import { HandlerEnv } from './request/handler-arguments.ts'
import { LazyMessageInfo } from './request/message-info.ts'
import { type Origin, originOf, type TrustProxy, trustsProxy } from './request/origin.ts'
import { createRequest, MessageSource } from './request/request.ts'
import { originForm, urlOf } from './request/url.ts'
import { PendingUpload, type PendingUploadOwner } from './upload/pending-upload.ts'
import { StreamUpload } from './upload/stream-upload.ts'
import { deleteUpload, fitsTempStore, type Upload, type UploadPlace, uploadHeadersOf } from './upload/upload.ts'
import { watchUploadSize } from './upload/upload-size.ts'

/** Looks at a request whose body is being stored; a Response ends it. */
export type UploadStartHook = (request: Request) => Response | undefined | Promise<Response | undefined>

/** What the user said about requests, checked. */
export interface IntakeSettings {
  /** The authority for HTTP/1.0 requests without Host. */
  readonly host: string
  readonly trustProxy: TrustProxy
  /** Bytes a request's body may have. */
  readonly maxBodySize: number
  /** Bytes that the body of one message may have. */
  readonly maxMessageSize: number
  readonly uploads: UploadPlace
  /** Whether other processes pull from the same Handlers. */
  readonly shared: boolean
  /** Bytes of a streamed body that may be on their way to its reader. */
  readonly uploadWindow: number
  /** Milliseconds between two parts of a streamed body; 0 is no limit. */
  readonly bodyTimeout: number
  /** Bytes of messages that may wait for the client of a socket. */
  readonly maxBufferedBytes: number
  readonly onUploadStart: UploadStartHook | undefined
  /** What takes JSON and XML messages. */
  readonly messages: MessageHandlers | undefined
  readonly logger: Logger
}

/** What the headers of a request were found to say. */
interface Target {
  readonly framing: Framing
  readonly origin: Origin
  readonly url: string
}

/** Why a request is not looked at any further. */
interface Refusal {
  readonly status: number
  readonly reason: string
}

/** A token (RFC 9110, section 5.6.2). */
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

const STOPPING = 'The server is stopping'

/** Makes exchanges of request messages: what is not plain is refused, the rest is handed to the application. */
export class Intake implements MessageIntake {
  readonly #settings: IntakeSettings
  readonly #application: Application
  readonly #warning: ThrottledWarning
  readonly #lightRequests = lightRequestsAreKnown()
  /** Throttled, since a client may make a listener fail as often as it likes. */
  readonly #listenerFailure: ThrottledWarning
  readonly #reportListener = (error: unknown): void =>
    this.#listenerFailure.say(() => `mongrel2-fetch: a listener of a WebSocket failed: ${describeError(error)}`)
  #stopping = false

  constructor(settings: IntakeSettings, application: Application) {
    this.#settings = settings
    this.#application = application
    this.#warning = new ThrottledWarning(settings.logger)
    this.#listenerFailure = new ThrottledWarning(settings.logger, 'error')
  }

  /** From now on every request is refused. */
  stop(): void {
    this.#stopping = true
  }

  /** Takes a request's message, be it the whole of it or the first of several. */
  accept(message: Message, connection: Connection): void {
    // Its end, which may go to another process, says all of it again.
    if (this.#settings.shared) {
      const headers = uploadHeadersOf(message, isStored(message))
      if (headers.stage === 'start') return this.#refuseSharedStart(message, headers.path, connection)
    }
    const exchange = this.open(message, connection)
    if (message.cut) return this.#refuseLarge(exchange, this.#settings.maxMessageSize)
    const target = this.#targetOf(message, exchange.facts.http10)
    if (message.headers.own('UPLOAD_STREAM') !== undefined) return this.#stream(message, exchange, target, connection)
    const headers = uploadHeadersOf(message, isStored(message))
    if ('status' in target) {
      if (headers.stage === 'start')
        this.#expectEnd(headers.path, exchange, connection, (_, stored) => stored.release())
      return this.refuse(exchange, target.status, target.reason)
    }
    const { framing } = target
    switch (headers.stage) {
      case 'start':
        return this.#begin(message, headers.path, exchange, target, connection)
      case 'forged':
        return this.#refuseForged(message, exchange, headers.reason)
      case 'done':
        if (this.#settings.shared) {
          this.#begin(message, headers.path, exchange, target, connection)
          if (connection.upload === undefined) this.discard(message)
          else connection.upload.receive(message)
          return
        }
        return this.#refuseForged(
          message,
          exchange,
          'its start did not come here (does another process pull from this send_spec? then set the option shared)',
        )
    }
    if (!agrees(framing, message.body.length)) return this.refuse(exchange, 400, 'Body and length disagree')
    if (message.body.length > this.#settings.maxBodySize) return this.#refuseLarge(exchange)
    this.#run(
      message,
      exchange,
      target,
      message.body.length === 0 && framing.length === undefined ? null : message.body,
    )
  }

  /** Refuses a body that is too large at its start. Any other is dealt with at its end, which may go to another process. */
  #refuseSharedStart(message: Message, path: string, connection: Connection): void {
    const { maxBodySize } = this.#settings
    const framing = framingOf(message)
    if (typeof framing === 'string' || maxBodySize === Number.MAX_SAFE_INTEGER) return
    const tooLarge = (framing.length ?? 0) > maxBodySize
    if (!tooLarge && !framing.chunked) return
    const exchange = this.open(message, connection)
    this.#expectEnd(path, exchange, connection, (_, stored) => stored.release())
    if (tooLarge) this.#refuseLarge(exchange)
    // Its size is known only at its end, which may go to another process.
    else this.refuse(exchange, 411, 'A body needs a Content-Length here')
  }

  /** Takes the handshake of a WebSocket. */
  acceptHandshake(message: Message, connection: Connection): void {
    const exchange = this.open(message, connection)
    if (connection.leaving) return this.refuse(exchange, 503, STOPPING)
    const target = this.#targetOf(message, exchange.facts.http10)
    if ('status' in target) return this.refuse(exchange, target.status, target.reason)
    const handshakeRequest = readHandshake(message)
    if ('status' in handshakeRequest) {
      return this.refuse(exchange, handshakeRequest.status, handshakeRequest.reason, handshakeRequest.headers)
    }
    const request = this.#requestOf(message, exchange, target, null, false)
    if (request === undefined) return
    const handshake = new Handshake(handshakeRequest, target.url, connection, this.#settings, this.#reportListener)
    exchange.offer(handshake)
    connection.frames = handshake
    const mongrel2 = new LazyMessageInfo(message, target.origin, undefined, exchange)
    registerHandshake(handshake, request, mongrel2)
    this.#application.run(exchange, request, new HandlerEnv(mongrel2))
  }

  /**
   * Takes the first message of a message socket.
   *
   * @returns false when nobody is there for it.
   */
  acceptSocket(message: Message, connection: Connection): boolean {
    const { messages } = this.#settings
    if (messages === undefined || this.#stopping || connection.leaving) return false
    const socket = new MessageSocket(message, connection, messages, this.#settings, this.#application.context)
    connection.frames = socket
    connection.ignoreInput()
    socket.begin(message)
    return true
  }

  /** Opens an exchange for a message. */
  open(message: Message, connection: Connection): Exchange {
    return new Exchange(connection, factsOf(message), this.#application, this.#settings.logger)
  }

  /** Answers with a plain text and closes; what the client sent behind it is not looked at. */
  refuse(exchange: Exchange, status: number, reason: string, headers: Record<string, string> = {}): void {
    this.#application.counters.rejected++
    exchange.refuse(
      createResponse(`${reason}\n`, {
        status,
        headers: { ...headers, 'content-type': 'text/plain; charset=utf-8' },
      }),
    )
  }

  /** A part of a body whose beginning did not come here: there is no telling what it belongs to. */
  refusePart(message: Message, connection: Connection): void {
    this.#application.counters.rejected++
    const upload = this.#streamUpload(undefined, connection, () => {})
    connection.upload = upload
    connection.close()
    upload.receive(message)
  }

  /** A message will not be dealt with: if it is the end of an upload, nobody else deletes the file. */
  discard(message: Message): void {
    const headers = uploadHeadersOf(message, isStored(message))
    if (headers.stage !== 'done') return
    this.#application.inBackground(deleteUpload(headers.path, this.#settings.uploads))
  }

  #targetOf(message: Message, http10: boolean): Target | Refusal {
    if (this.#stopping) return { status: 503, reason: STOPPING }
    if (!METHOD.test(message.headers.own('METHOD') ?? '')) return bad('The method is none')
    const framing = framingOf(message)
    if (typeof framing === 'string') return bad(framing)
    const { host, trustProxy } = this.#settings
    const origin = originOf(message, http10, host, trustProxy)
    if (typeof origin === 'string') return bad(origin)
    const uri = message.headers.own('URI')
    if (uri?.startsWith('/') !== true) return bad('The target is no path')
    const { scheme, authority } = origin
    try {
      // A proxy has to send the origin form (RFC 9112, section 3.2.1), and may have checked the path by its own reading of it.
      const target = trustsProxy(trustProxy) ? uri : originForm(scheme, authority, uri)
      return { framing, origin, url: urlOf(scheme, authority, target) }
    } catch {
      return bad('Host and target are no URL')
    }
  }

  #run(message: Message, exchange: Exchange, target: Target, body: Buffer | null, upload?: Upload): void {
    const release = upload === undefined ? undefined : () => upload.release()
    const request = this.#requestOf(message, exchange, target, upload?.stream() ?? body, upload !== undefined)
    const env = new HandlerEnv(new LazyMessageInfo(message, target.origin, upload?.info, exchange))
    if (request !== undefined) this.#application.run(exchange, request, env, release)
    else if (release !== undefined) this.#application.inBackground(release())
  }

  /** The platform's constructors have the last word on what a request may hold: one that they refuse is refused. */
  #requestOf(
    message: Message,
    exchange: Exchange,
    target: Target,
    body: Buffer | ReadableStream<Uint8Array> | null,
    uploaded: boolean,
  ): Request | undefined {
    try {
      const source = new MessageSource(message, target, body, uploaded, exchange)
      return createRequest(source, this.#lightRequests)
    } catch (error) {
      this.refuse(exchange, 400, error instanceof Error ? error.message : 'The request cannot be represented')
      return undefined
    }
  }

  #begin(message: Message, path: string, exchange: Exchange, target: Target, connection: Connection): void {
    const { uploads, maxBodySize, onUploadStart } = this.#settings
    if (!fitsTempStore(path, uploads.tempStore)) {
      this.#warning.say(
        () =>
          `mongrel2-fetch answered 500: Mongrel2 stores an upload as ${JSON.stringify(path)}, but the option uploads.tempStore ` +
          `is ${JSON.stringify(uploads.tempStore)}; it has to be the value of Mongrel2's setting upload.temp_store`,
      )
      return this.refuse(exchange, 500, 'The upload cannot be read')
    }
    const upload = this.#expectEnd(path, exchange, connection, (done, stored) =>
      this.#complete(done, exchange, target, stored),
    )
    if ((target.framing.length ?? 0) > maxBodySize) return this.#refuseLarge(exchange)
    if (target.framing.chunked && maxBodySize < Number.MAX_SAFE_INTEGER) {
      const stop = watchUploadSize(join(uploads.chroot, path), maxBodySize, () => {
        if (exchange.unanswered) this.#refuseLarge(exchange)
      })
      void exchange.ended.then(stop)
    }
    if (onUploadStart === undefined) return
    const request = this.#requestOf(message, exchange, target, null, false)
    if (request !== undefined) upload.accepted = this.#ask(onUploadStart, request, exchange)
  }

  /** It is there before anything is answered: the connection then stays until the client has sent all of it. */
  #expectEnd(
    path: string,
    exchange: Exchange,
    connection: Connection,
    complete: PendingUploadOwner['complete'],
  ): PendingUpload {
    const owner: PendingUploadOwner = {
      ended: (work) => this.#application.inBackground(connection.check(work)),
      complete,
      refuse: (status, reason) => this.refuse(exchange, status, reason),
      refuseForged: (done, reason) => this.#refuseForged(done, exchange, reason),
      get answer() {
        return connection.outbox.progress
      },
      expired: () => connection.closeNow(),
    }
    const upload = new PendingUpload(path, exchange, this.#settings.uploads, owner, this.#warning)
    connection.upload = upload
    return upload
  }

  #stream(message: Message, exchange: Exchange, target: Target | Refusal, connection: Connection): void {
    const length = 'status' in target ? undefined : target.framing.length
    const upload = this.#streamUpload(length, connection, (status, reason) => {
      exchange.abortSignal(new DOMException(reason, 'AbortError'))
      this.refuse(exchange, status, reason)
      if (exchange.done) connection.close()
    })
    connection.upload = upload
    connection.secure = message.headers.own('URL_SCHEME') === 'https'
    exchange.upload = upload
    upload.receive(message)
    if ('status' in target) this.refuse(exchange, target.status, target.reason)
    else if ((length ?? 0) > this.#settings.maxBodySize) this.#refuseLarge(exchange)
    else if (exchange.unanswered) {
      const request = this.#requestOf(message, exchange, target, upload.stream(), false)
      const env = new HandlerEnv(new LazyMessageInfo(message, target.origin, undefined, exchange))
      const drain = () => exchange.ended.then(() => upload.drain())
      if (request !== undefined) this.#application.run(exchange, request, env, drain)
    }
  }

  #streamUpload(
    length: number | undefined,
    connection: Connection,
    failed: (status: number, reason: string) => void,
  ): StreamUpload {
    const { uploadWindow, maxBodySize, bodyTimeout } = this.#settings
    return new StreamUpload(uploadWindow, length, maxBodySize, bodyTimeout, {
      credit: (bytes) => connection.grant(bytes),
      completed: () => connection.endUpload(),
      failed,
      get answer() {
        return connection.outbox.progress
      },
      lingers: () => connection.closeAfterUpload(),
      expired: () => connection.closeNow(),
      get gateway() {
        return connection.single
      },
    })
  }

  async #ask(hook: UploadStartHook, request: Request, exchange: Exchange): Promise<boolean> {
    const response = await this.#application.ask(hook, request, exchange)
    if (response !== undefined) exchange.refuse(response)
    return response === undefined
  }

  async #complete(message: Message, exchange: Exchange, target: Target, upload: Upload): Promise<void> {
    const { size } = upload.info
    const length = target.framing.length ?? size
    if (length > this.#settings.maxBodySize) this.#refuseLarge(exchange)
    else if (size < length) this.refuse(exchange, 400, 'Body and length disagree')
    else if (size === length || (await this.#cutOff(exchange, upload, length))) {
      return this.#run(message, exchange, target, null, upload)
    }
    await upload.release()
  }

  /**
   * What comes in one read with the end of a body, Mongrel2 writes into the file too: requests pipelined behind it are lost, or their
   * beginnings, so the connection ends with this one's answer. Its client can send the others again (RFC 9112, section 9.3.2).
   */
  async #cutOff(exchange: Exchange, upload: Upload, length: number): Promise<boolean> {
    exchange.makeLast()
    try {
      await upload.truncate(length)
      return true
    } catch (error) {
      this.#warning.say(
        () => `mongrel2-fetch answered 500: what follows a body in its file cannot be cut off: ${describeError(error)}`,
      )
      this.refuse(exchange, 500, 'The upload cannot be read')
      return false
    }
  }

  #refuseForged(message: Message, exchange: Exchange, reason: string): void {
    this.#warning.say(
      () =>
        `mongrel2-fetch refused forged upload headers from ${message.headers.own('REMOTE_ADDR')} for ${message.path}: ${reason}`,
    )
    this.refuse(exchange, 400, 'Upload headers are not for clients to send')
  }

  #refuseLarge(exchange: Exchange, most = this.#settings.maxBodySize): void {
    this.refuse(exchange, 413, `Bodies may have ${most} bytes`)
  }
}

function bad(reason: string): Refusal {
  return { status: 400, reason }
}
