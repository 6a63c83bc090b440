import { createHash } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import { type Logger, messageOf } from '../runtime/log.ts'
import { type Deferred, deferred, turnEnd } from '../runtime/promises.ts'
import { DELIVER_OUTSTANDING_MSGS, FLOW_CONTROL_WINDOW } from '../wire/limits.ts'
import { MalformedError } from '../wire/malformed.ts'
import type { ParsedReply } from '../wire/reply.ts'
import { ResponseParser, type ResponsePart } from '../wire/response-parser.ts'
import { renderClose, WebSocketFault } from '../wire/websocket/frames.ts'
import { FrameFollower, WebSocketReader } from '../wire/websocket/reader.ts'
import type { Handler } from './handler.ts'
import { type Fields, messageFields, type Target } from './message-fields.ts'
import { type Answer, type GatewayRequest, type RequestBody, readPiece, type WebSocketClient } from './request.ts'

/** What holds for every connection of a gateway. Times are in milliseconds. */
export interface ConnectionSettings {
  readonly uploads: 'stream' | 'none'
  readonly flowControl: boolean
  readonly noClobberXff: boolean
  /** `limits.content_length`: bytes of a body that come within its request's message. */
  readonly contentLength: number
  /** Bytes that a WebSocket's message may have. */
  readonly maxMessageSize: number
  /** Time between two pieces of a body that the handler waits for, and for the whole of one that comes within its message. */
  readonly bodyTimeout: number
  readonly logger: Logger
}

/** A route that fits a path. */
export interface Route {
  readonly pattern: string
  readonly handler: Handler
}

/** Where a request belongs. */
export interface ConnectionPlace {
  readonly route: Route
  readonly target: Target
  /** Called when replies to the connection mean nothing any more. */
  closed(connection: Connection): void
}

/** Where a connection stands: its handler's reply ends it, or its client. */
type Phase =
  /** The answer is not complete. */
  | 'open'
  /** The answer is complete. The handler may still read the body; it closes the connection in the end. */
  | 'answered'
  /** Nothing will be said about it any more, by either side. */
  | 'closed'

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const NOTHING = Buffer.alloc(0)
/** As many bytes as there are. */
const ALL = Number.POSITIVE_INFINITY
/** Bytes of a streamed body in one message, as many as Mongrel2 sends. */
const PIECE = 20_480
/** Time that a client that has ended its side waits for the next bytes of its answer, in milliseconds; then it is taken to have left. */
const HALF_CLOSED_TIME = 2000
/** Time that a handler has to close a connection whose answer and body are complete, in milliseconds; then it is told that it is gone. */
const CLOSE_TIME = 1000

/**
 * A request and its answer, which are a connection of their own to the handler: the request becomes messages, replies become the
 * answer.
 */
export class Connection {
  readonly id: number
  readonly #request: GatewayRequest
  readonly #answer: Answer
  readonly #target: Target
  readonly #route: Route
  readonly #closed: (connection: Connection) => void
  readonly #settings: ConnectionSettings
  readonly #parser: ResponseParser
  /** The frames that go to a WebSocket's client, from its 101 on. */
  #frames: FrameFollower | undefined
  #phase: Phase = 'open'
  /** Whether the handler knows of it. */
  #told = false
  #begun = false
  #uploading = false
  /** Bytes of a body that the handler has asked for and not got. */
  #credits = 0
  #wake: Deferred<void> | undefined
  /** Replies that the client's socket has not taken, and their bytes. */
  #unwritten = 0
  #unwrittenBytes = 0
  /** Since when the client is waited for to send more of its body, by `performance.now()`. */
  #waitsSince: number | undefined
  /** When the client ended its side, or took something after that. */
  #halfClosedAt: number | undefined
  /** When it ends if its handler, which has answered, has not closed it. */
  #endsAt: number | undefined

  constructor(
    id: number,
    request: GatewayRequest,
    answer: Answer,
    { route, target, closed }: ConnectionPlace,
    settings: ConnectionSettings,
  ) {
    this.id = id
    this.#request = request
    this.#answer = answer
    this.#route = route
    this.#target = target
    this.#closed = closed
    this.#settings = settings
    this.#parser = new ResponseParser(request.method === 'HEAD')
  }

  /** Sends the request to the handler; resolves when all of it has been, or will not be. */
  async run(): Promise<void> {
    const { body, webSocket } = this.#request
    const fields = messageFields(this.#request, this.#target, this.#route.pattern, this.#settings)
    if (webSocket !== undefined) return await this.#sendFrames(webSocket, fields)
    if (body === undefined) return await this.#send(fields, NOTHING)
    if (body.length !== undefined && body.length <= this.#settings.contentLength)
      return await this.#sendWhole(body, fields)
    if (this.#settings.uploads === 'none') return this.refuse(413, true)
    await this.#sendPieces(body, fields)
  }

  /** Takes what a handler has published for it. */
  take(content: ParsedReply['content']): void {
    if ('payload' in content) {
      if (content.payload.length === 0) this.#closeByHandler()
      else if (this.#phase === 'open') this.#deliver(content.payload)
    } else if ('cancel' in content.control) this.kill()
    else if ('credits' in content.control) {
      this.#credits += content.control.credits
      this.#wake?.resolve()
    }
  }

  /** The client has left, as far as can be known. Behind its answer, a body of which all has come can still be read. */
  leave(): void {
    if (this.#phase === 'answered' && this.#request.body?.complete !== false)
      this.#endsAt ??= performance.now() + this.#settings.bodyTimeout
    else this.#close(() => this.#answer.cut())
  }

  /** The client has ended its side. Its answer is still wanted if it comes soon. */
  halfClose(): void {
    this.#halfClosedAt = performance.now()
  }

  /**
   * It cannot be answered by the handler: answers with a status, unless an answer has begun.
   *
   * @param last Whether the client's connection has to end with it, since the request is broken.
   */
  refuse(status: number, last: boolean): void {
    this.#close(() => {
      if (this.#begun) this.#answer.cut()
      else refuse(this.#answer, status, last)
    })
  }

  /** Ends the connection at once without telling the handler. */
  kill(): void {
    this.#end(() => this.#answer.cut())
  }

  /** Ends it when the client takes too long, or its handler does not close it behind the answer. */
  expire(now: number): void {
    if (this.#endsAt !== undefined && now > this.#endsAt) this.#close(() => {})
    if (this.#waitsSince !== undefined && now - this.#waitsSince > this.#settings.bodyTimeout) this.refuse(408, true)
    if (this.#halfClosedAt !== undefined && now - this.#halfClosedAt > HALF_CLOSED_TIME) this.leave()
  }

  /**
   * Ends it, and tells the handler.
   *
   * @param finish What becomes of an answer that is not complete.
   */
  #close(finish: () => void): void {
    if (this.#isClosed()) return
    this.#end(finish)
    if (this.#told) this.#route.handler.notifyLeave(this.id)
  }

  #end(finish: () => void): void {
    const unanswered = this.#phase === 'open'
    this.#phase = 'closed'
    this.#waitsSince = undefined
    this.#halfClosedAt = undefined
    this.#endsAt = undefined
    this.#wake?.resolve()
    this.#answer.release()
    if (unanswered) finish()
    this.#closed(this)
  }

  /** Whether it is over, after something was waited for. */
  #isClosed(): boolean {
    return this.#phase === 'closed'
  }

  #closeByHandler(): void {
    this.#end(() => {
      if (this.#parser.endsWithConnection) this.#answer.end(NOTHING)
      else this.#answer.cut()
    })
  }

  #deliver(payload: Buffer): void {
    const full = this.#settings.flowControl
      ? this.#unwrittenBytes + payload.length > FLOW_CONTROL_WINDOW
      : this.#unwritten >= DELIVER_OUTSTANDING_MSGS
    if (full) return this.kill()
    let part: ResponsePart
    try {
      part = this.#parser.push(payload)
      if (part.head !== undefined) {
        if (part.head.status === 101 && this.#request.webSocket === undefined) {
          throw new MalformedError("a 101 answers a request that is no WebSocket's handshake")
        }
        // Mongrel2 gives that leave at once. Here a client that is refused need not send the body.
        if (part.head.status < 300) this.#request.body?.open()
        this.#answer.begin(part.head, false)
        this.#begun = true
        if (part.head.status === 101) this.#frames = new FrameFollower()
      }
    } catch (error) {
      this.#settings.logger.error?.(`mongrel2-fetch front: a handler's response cannot be sent: ${messageOf(error)}`)
      return this.refuse(502, false)
    }
    this.#write(part, payload.length)
  }

  #write({ body, complete }: ResponsePart, size: number): void {
    const last = body.at(-1) ?? NOTHING
    for (const piece of body) {
      this.#frames?.push(piece)
      if (piece !== last) this.#answer.write(piece, () => {})
    }
    if (complete) {
      this.#answer.end(last)
      this.#phase = 'answered'
      this.#halfClosedAt = undefined
      if (this.#request.body?.held === true) this.#close(() => {})
      else this.#awaitClose()
      return
    }
    this.#unwritten++
    this.#unwrittenBytes += size
    if (last.length > 0) return this.#answer.write(last, () => this.#written(size))
    this.#answer.flush()
    this.#written(size)
  }

  /** The handler has nothing more to do than to close the connection, once it has answered and has all of the body. */
  #awaitClose(): void {
    if (this.#phase === 'answered' && !this.#uploading) this.#endsAt = performance.now() + CLOSE_TIME
  }

  #written(size: number): void {
    this.#unwritten--
    this.#unwrittenBytes -= size
    if (this.#phase !== 'open') return
    if (this.#halfClosedAt !== undefined) this.#halfClosedAt = performance.now()
    if (this.#settings.flowControl) this.#route.handler.notifyCredits(this.id, size)
  }

  async #send(fields: Fields, body: Uint8Array): Promise<void> {
    const { handler } = this.#route
    const first = !this.#told
    if (first && !handler.admits()) return this.refuse(503, false)
    this.#told = true
    await handler.send(this.id, this.#target.path, fields, body, first)
  }

  /** A body that comes within its request's message. */
  async #sendWhole(body: RequestBody, fields: Fields): Promise<void> {
    const { length = 0 } = body
    const stream = body.open()
    const pieces: Buffer[] = []
    this.#waitsSince = performance.now()
    for (let missing = length; missing > 0; ) {
      const piece = await readPiece(stream, missing)
      if (piece === undefined || this.#isClosed()) return
      pieces.push(piece)
      missing -= piece.length
    }
    this.#waitsSince = undefined
    this.#answer.release()
    await this.#send(fields, pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces))
  }

  /** Sends the headers at once, then the body (`upload.stream`) as the handler asks for it. */
  async #sendPieces(body: RequestBody, fields: Fields): Promise<void> {
    this.#uploading = true
    await this.#send(fields.set('UPLOAD_STREAM', '0'), NOTHING)
    for (let offset = 0; this.#uploading; ) {
      const piece = await this.#nextPiece(body, offset === 0)
      if (piece === undefined) return
      const done = piece.length === 0 || offset + piece.length === body.length
      // Mongrel2 counts in a C int, which 2 GiB make negative.
      const part: Fields = new Map([['UPLOAD_STREAM', String(offset | 0)]])
      if (done) part.set('UPLOAD_STREAM_DONE', '1')
      this.#uploading = !done
      this.#credits -= piece.length
      offset += piece.length
      if (done) this.#answer.release()
      await this.#send(part, piece)
    }
    this.#awaitClose()
  }

  /** Reads what the handler has asked for; nothing at the body's end, undefined when the connection is over. */
  async #nextPiece(body: RequestBody, first: boolean): Promise<Buffer | undefined> {
    while (this.#credits <= 0 && !this.#isClosed()) {
      this.#wake = deferred()
      await this.#wake.promise
    }
    // An answer that was sent with the credits may refuse the body, which a client that waits for leave need not send then.
    if (first) await turnEnd()
    if (this.#isClosed() || (body.held && this.#begun)) return undefined
    const stream = body.open()
    this.#waitsSince = performance.now()
    const piece = await readPiece(stream, Math.min(this.#credits, PIECE))
    this.#waitsSince = undefined
    if (this.#isClosed()) return undefined
    return piece ?? (stream.readableEnded ? NOTHING : undefined)
  }

  /** The handshake's message has what Sec-WebSocket-Accept must say; the 101 is the handler's, whose frames are bytes as any. */
  async #sendFrames({ key, frames }: WebSocketClient, fields: Fields): Promise<void> {
    const accept = createHash('sha1').update(`${key}${WEBSOCKET_GUID}`, 'latin1').digest('base64')
    await this.#send(fields, Buffer.from(accept))
    fields.set('METHOD', 'WEBSOCKET')
    const reader = new WebSocketReader(this.#settings.maxMessageSize)
    try {
      for (let bytes = await readPiece(frames, ALL); bytes !== undefined; bytes = await readPiece(frames, ALL)) {
        for (const { flags, payload } of reader.read(bytes)) {
          if (this.#isClosed()) return
          await this.#send(fields.set('FLAGS', `0x${flags.toString(16).toUpperCase()}`), payload)
        }
      }
      this.leave()
    } catch (error) {
      if (!(error instanceof WebSocketFault)) throw error
      this.#fail(error)
    }
  }

  /** Tells the client why its WebSocket ends, unless that would be in the middle of a frame. */
  #fail({ code, message }: WebSocketFault): void {
    if (this.#frames?.betweenFrames !== true) return this.leave()
    this.#close(() => this.#answer.end(renderClose({ code, reason: message })))
  }
}

/**
 * Answers with a status and its name: what a gateway answers by itself.
 *
 * @param last Whether the client's connection has to end with it.
 */
export function refuse(answer: Answer, status: number, last: boolean): void {
  const reason = STATUS_CODES[status] ?? ''
  const fields = [
    'Content-Type',
    'text/plain',
    'Content-Length',
    String(reason.length),
    'Server',
    'mongrel2-fetch front',
  ]
  answer.release()
  answer.begin({ status, reason, fields }, last)
  answer.end(Buffer.from(reason))
}
