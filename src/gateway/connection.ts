import { createHash } from 'node:crypto'
import { bodyTimedOut, invalidResponse, type Outcome, overloaded, tooLarge } from '../platform/outcomes.ts'
import { messageOf } from '../runtime/log.ts'
import { type Deferred, deferred, turnEnd } from '../runtime/promises.ts'
import { reasonOf } from '../wire/http.ts'
import { DELIVER_OUTSTANDING_MSGS, FLOW_CONTROL_WINDOW } from '../wire/limits.ts'
import { MalformedError } from '../wire/malformed.ts'
import type { ParsedReply } from '../wire/reply.ts'
import { type ResponseHead, ResponseParser, type ResponsePart } from '../wire/response-parser.ts'
import { renderClose, WebSocketFault } from '../wire/websocket/frames.ts'
import { FrameFollower, WebSocketReader } from '../wire/websocket/reader.ts'
import type { Handler } from './handler.ts'
import { messageFields, type Target } from './message-fields.ts'
import type { GatewaySettings } from './options.ts'
import { type Answer, type GatewayRequest, type RequestBody, readPiece, type WebSocketClient } from './request.ts'

/** A route that matches a path. */
export interface Route {
  readonly pattern: string
  readonly handler: Handler
}

/** The destination of a request. */
interface ConnectionPlace {
  readonly route: Route
  readonly target: Target
  /** Called when the connection takes no more replies. */
  closed(connection: Connection): void
}

type Phase =
  /** The answer is not complete. */
  | 'open'
  /** The answer is complete. The handler may still read the body, and closes the connection. */
  | 'answered'
  /** No more messages or replies. */
  | 'closed'

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const NOTHING = Buffer.alloc(0)
/** Bytes of a streamed body in one message, as in Mongrel2. */
const PIECE = 20_480
/** Milliseconds that a client which has ended its side waits for more of its answer; then it counts as gone. */
const HALF_CLOSED_TIME = 2000
/** Milliseconds for a handler to close a connection after answer and body; then it gets a disconnect notice. */
const CLOSE_TIME = 1000

/** A request and its answer, as a connection of their own for the handler: turns the request into messages, and replies into the answer. */
export class Connection {
  readonly id: number
  readonly #request: GatewayRequest
  readonly #answer: Answer
  readonly #target: Target
  readonly #route: Route
  readonly #closed: (connection: Connection) => void
  readonly #settings: GatewaySettings
  readonly #parser: ResponseParser
  /** The frames sent to a WebSocket client, from the 101 on. */
  #frames: FrameFollower | undefined
  #phase: Phase = 'open'
  /** Whether the handler has got a message of it. */
  #known = false
  #begun = false
  #uploading = false
  /** Bytes of the body that the handler has asked for and not received. */
  #credits = 0
  #wake: Deferred<void> | undefined
  /** Replies not yet written to the client's socket, and their bytes. */
  #unwritten = 0
  #unwrittenBytes = 0
  /** When the wait for more of the client's body began, by `performance.now()`. */
  #waitsSince: number | undefined
  /** When the client ended its side, or last took bytes after that. */
  #halfClosedAt: number | undefined
  /** When it ends unless the handler, which has answered, closes it before. */
  #endsAt: number | undefined

  constructor(
    id: number,
    request: GatewayRequest,
    answer: Answer,
    { route, target, closed }: ConnectionPlace,
    settings: GatewaySettings,
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

  /** Sends the request to the handler; resolves when no more of it will be sent, undefined when that is now. */
  run(): Promise<void> | undefined {
    const { body, webSocket } = this.#request
    const fields = messageFields(this.#request, this.#target, this.#route.pattern, this.#settings)
    if (webSocket !== undefined) return this.#sendFrames(webSocket, fields)
    fields.push('METHOD', this.#request.method)
    if (body === undefined) return this.#send(fields, NOTHING)
    if (body.length !== undefined && body.length <= this.#settings.contentLength) return this.#sendWhole(body, fields)
    if (this.#settings.uploads !== 'none') return this.#sendPieces(body, fields)
    this.refuse(tooLarge(this.#settings.contentLength), true)
    return undefined
  }

  /** Takes a reply of the handler. */
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

  /** The client has left. After its answer, a body that has arrived completely can still be read. */
  leave(): void {
    if (this.#phase === 'answered' && this.#request.body?.complete !== false)
      this.#endsAt ??= performance.now() + this.#settings.bodyTimeout
    else this.#close(() => this.#answer.cut())
  }

  /** The client has ended its side. It still gets its answer within `HALF_CLOSED_TIME`. */
  halfClose(): void {
    this.#halfClosedAt = performance.now()
  }

  /** Answers in place of the handler; cuts an answer that has begun. `last`: the client's connection ends with it. */
  refuse(outcome: Outcome, last: boolean): void {
    this.#close(() => {
      if (this.#begun) this.#answer.cut()
      else refuse(this.#answer, outcome, last)
    })
  }

  /** Ends the connection at once without telling the handler. */
  kill(): void {
    this.#end(() => this.#answer.cut())
  }

  /** Ends it when the client takes too long, or the handler does not close it after the answer. */
  expire(now: number): void {
    if (this.#endsAt !== undefined && now > this.#endsAt) this.#close(() => {})
    if (this.#waitsSince !== undefined && now - this.#waitsSince > this.#settings.bodyTimeout)
      this.refuse(bodyTimedOut(), true)
    if (this.#halfClosedAt !== undefined && now - this.#halfClosedAt > HALF_CLOSED_TIME) this.leave()
  }

  /** Ends it and tells the handler. `finish` ends an incomplete answer. */
  #close(finish: () => void): void {
    if (this.#isClosed()) return
    this.#end(finish)
    if (this.#known) this.#route.handler.notifyLeave(this.id)
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

  /** A method, since TypeScript would keep a narrowed `#phase` across an await. */
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
        // Mongrel2 sends `100 Continue` at once. Here a refused client need not send the body.
        if (part.head.status < 300) this.#request.body?.open()
        this.#answer.begin(part.head, false)
        this.#begun = true
        if (part.head.status === 101) this.#frames = new FrameFollower()
      }
    } catch (error) {
      this.#settings.logger.error?.(`mongrel2-fetch front: a handler's response cannot be sent: ${messageOf(error)}`)
      return this.refuse(invalidResponse(), false)
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

  /** Once the answer and the body are complete, the handler only has to close the connection. */
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

  #send(fields: readonly string[], body: Buffer): Promise<void> | undefined {
    const { handler } = this.#route
    const first = !this.#known
    if (first && !handler.admits()) {
      this.refuse(overloaded(), false)
      return undefined
    }
    this.#known = true
    return handler.send(this.id, this.#target.path, fields, body, first)
  }

  /** Sends the body within the request's message. */
  async #sendWhole(body: RequestBody, fields: readonly string[]): Promise<void> {
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

  /** Sends the headers first, then the body (`upload.stream`) as the handler asks for it. */
  async #sendPieces(body: RequestBody, fields: readonly string[]): Promise<void> {
    this.#uploading = true
    await this.#send([...fields, 'UPLOAD_STREAM', '0'], NOTHING)
    for (let offset = 0; this.#uploading; ) {
      const piece = await this.#nextPiece(body, offset === 0)
      if (piece === undefined) return
      const done = piece.length === 0 || offset + piece.length === body.length
      // Mongrel2 counts in a C int, which becomes negative at 2 GiB.
      const part = ['UPLOAD_STREAM', String(offset | 0)]
      if (done) part.push('UPLOAD_STREAM_DONE', '1')
      this.#uploading = !done
      this.#credits -= piece.length
      offset += piece.length
      if (done) this.#answer.release()
      await this.#send(part, piece)
    }
    this.#awaitClose()
  }

  /** Reads bytes that the handler has asked for; empty at the body's end, undefined when the connection is closed. */
  async #nextPiece(body: RequestBody, first: boolean): Promise<Buffer | undefined> {
    while (this.#credits <= 0 && !this.#isClosed()) {
      this.#wake = deferred()
      await this.#wake.promise
    }
    // An answer sent with the credits may refuse the body; then a client that waits for `100 Continue` need not send it.
    if (first) await turnEnd()
    if (this.#isClosed() || (body.held && this.#begun)) return undefined
    const stream = body.open()
    this.#waitsSince = performance.now()
    const piece = await readPiece(stream, Math.min(this.#credits, PIECE))
    this.#waitsSince = undefined
    if (this.#isClosed()) return undefined
    return piece ?? (stream.readableEnded ? NOTHING : undefined)
  }

  /** The handshake's message holds the value of Sec-WebSocket-Accept; the handler sends the 101. */
  async #sendFrames({ key, frames }: WebSocketClient, fields: readonly string[]): Promise<void> {
    const accept = createHash('sha1').update(`${key}${WEBSOCKET_GUID}`, 'latin1').digest('base64')
    await this.#send([...fields, 'METHOD', 'WEBSOCKET_HANDSHAKE'], Buffer.from(accept))
    const reader = new WebSocketReader(this.#settings.maxMessageSize)
    try {
      for (;;) {
        const bytes = await readPiece(frames, Number.POSITIVE_INFINITY)
        if (bytes === undefined) return this.leave()
        for (const { flags, payload } of reader.read(bytes)) {
          if (this.#isClosed()) return
          const frame = ['METHOD', 'WEBSOCKET', 'FLAGS', `0x${flags.toString(16).toUpperCase()}`]
          await this.#send([...fields, ...frame], payload)
        }
      }
    } catch (error) {
      if (!(error instanceof WebSocketFault)) throw error
      // A close frame cannot be sent in the middle of another frame.
      if (this.#frames?.betweenFrames !== true) return this.leave()
      const { code, message } = error
      this.#close(() => this.#answer.end(renderClose({ code, reason: message })))
    }
  }
}

/** An outcome in the words of the client's protocol; the body is its reason. */
export function refusal({ status, reason: text, headers }: Outcome): { head: ResponseHead; body: Buffer } {
  const reason = reasonOf(status)
  const body = Buffer.from(text ?? reason)
  const own = { 'Content-Type': 'text/plain', 'Content-Length': String(body.length), Server: 'mongrel2-fetch front' }
  return { head: { status, reason, fields: Object.entries({ ...own, ...headers }).flat() }, body }
}

/** Answers a request in place of the handler. `last`: whether the client's connection ends with it. */
export function refuse(answer: Answer, outcome: Outcome, last: boolean): undefined {
  const { head, body } = refusal(outcome)
  answer.release()
  answer.begin(head, last)
  answer.end(body)
}
