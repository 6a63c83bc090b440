import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { badRequest, type Outcome } from '../../platform/outcomes.ts'
import { renderHead } from '../../wire/http.ts'
import { pairs } from '../../wire/response-parser.ts'
import { type Connection, refusal, refuse } from '../connection.ts'
import { lingeringClose } from '../lingering-close.ts'
import { clientAddress } from '../protocol-server.ts'
import type { GatewayRequest, RequestBody } from '../request.ts'
import type { Router } from '../router.ts'
import { HttpAnswer, hasBody } from './http-answer.ts'

/** Requests of one client that are served at once; more wait. */
const MAX_PIPELINED = 16

/** A request whose answer is not complete, or whose body is still read. It has no connection where no handler gets it. */
interface OpenRequest {
  readonly request: IncomingMessage
  connection: Connection | undefined
}

/** Begins the answer to a request. */
type Serve = (answer: HttpAnswer) => Connection | undefined

/** A client's HTTP connection. Each request on it is a connection of its own for the handler. */
export class HttpClient {
  readonly #socket: Socket
  readonly #scheme: 'http' | 'https'
  readonly #remoteAddress: string
  readonly #router: Router
  readonly #stopping: () => boolean
  /** In the order of arrival. No Map: see `NumberMap`. */
  #open: OpenRequest[] = []
  readonly #waiting: (() => void)[] = []
  #whenIdle: (() => void) | undefined
  /** Whether further input of the client is ignored. */
  #ignoresInput = false

  /** @param stopping Whether connections end with their present answer. */
  constructor(socket: Socket, scheme: 'http' | 'https', router: Router, stopping: () => boolean) {
    this.#socket = socket
    this.#scheme = scheme
    this.#remoteAddress = clientAddress(socket.remoteAddress)
    this.#router = router
    this.#stopping = stopping
    socket.on('error', () => {}) // `close` follows
    socket.on('end', () => {
      for (const { connection } of this.#open) connection?.halfClose()
    })
  }

  /** Takes a request. `expects`: whether the client waits for `100 Continue` before it sends the body. */
  request(request: IncomingMessage, response: ServerResponse, expects: boolean): void {
    const coding = request.headers['transfer-encoding']
    // Node accepts other codings: a proxy in front could see another end of the body.
    if (coding !== undefined && coding !== 'chunked')
      return this.refuseRequest(request, response, badRequest('The only transfer coding is chunked'))
    this.#enqueue(request, response, (answer) => this.#router.open(this.#describe(request, response, expects), answer))
  }

  /** Answers a request in place of the handler, and ignores further input. */
  refuseRequest(request: IncomingMessage, response: ServerResponse, outcome: Outcome): void {
    this.#enqueue(request, response, (answer) => refuse(answer, outcome, true))
    this.#ignoresInput = true
  }

  /** Takes a WebSocket handshake, after which the connection is not HTTP any more. No other request may be open. */
  handshake(request: IncomingMessage): void {
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(this.#socket)
    response.on('finish', () => lingeringClose(this.#socket)) // the answer was no 101
    this.#socket.on('timeout', () => this.expire())
    const webSocket = { key: request.headers['sec-websocket-key'] ?? '', frames: this.#socket }
    const described = { ...this.#describe(request, response, false), body: undefined, webSocket }
    this.#start(request, response, (answer) => this.#router.open(described, answer))
  }

  /** Answers malformed input after all earlier answers, and ends the connection. */
  refuse(outcome: Outcome): void {
    if (this.#ignoresInput) return
    this.#ignoresInput = true
    const last = this.#open.at(-1)
    if (last !== undefined && !last.request.complete) last.connection?.refuse(outcome, true)
    else {
      this.whenIdle(() => {
        if (!this.#socket.writable) return
        this.#socket.write(renderRefusal(outcome))
        lingeringClose(this.#socket)
      })
    }
  }

  /** Calls the action once every answer has gone out. */
  whenIdle(action: () => void): void {
    if (this.#open.length === 0) action()
    else this.#whenIdle = action
  }

  /** Closes a connection without traffic, unless the handler is making an answer. */
  expire(): void {
    if (this.#open.length === 0 || this.#socket.writableLength > 0) this.#socket.destroy()
    else this.#socket.setTimeout(this.#socket.timeout ?? 0) // the timer does not restart by itself
  }

  /** The client's connection is over. */
  leave(): void {
    this.#ignoresInput = true
    this.#waiting.length = 0
    this.#whenIdle = undefined
    for (const { connection } of this.#open) connection?.leave()
  }

  #enqueue(request: IncomingMessage, response: ServerResponse, serve: Serve): void {
    if (this.#ignoresInput) return
    if (this.#open.length < MAX_PIPELINED) return this.#start(request, response, serve)
    this.#waiting.push(() => this.#start(request, response, serve))
    this.#socket.pause()
  }

  #start(request: IncomingMessage, response: ServerResponse, serve: Serve): void {
    const open: OpenRequest = { request, connection: undefined }
    this.#open.push(open)
    const answer = new HttpAnswer(request, response, this.#stopping)
    response.on('close', () => {
      if (hasBody(request)) void answer.released.then(() => this.#finish(open))
      else this.#finish(open)
    })
    open.connection = serve(answer)
  }

  #finish(ended: OpenRequest): void {
    this.#open = this.#open.filter((open) => open !== ended)
    const next = this.#waiting.shift()
    if (next !== undefined) next()
    else if (this.#open.length === 0) {
      const action = this.#whenIdle
      this.#whenIdle = undefined
      action?.()
    }
    if (this.#waiting.length === 0 && this.#socket.isPaused()) this.#socket.resume()
  }

  #describe(request: IncomingMessage, response: ServerResponse, expects: boolean): GatewayRequest {
    const { method = '', url = '', httpVersion, rawHeaders } = request
    return {
      method,
      target: url,
      version: httpVersion === '1.0' ? 'HTTP/1.0' : 'HTTP/1.1',
      fields: rawHeaders,
      remoteAddress: this.#remoteAddress,
      scheme: this.#scheme,
      body: hasBody(request) ? new HttpBody(request, response, expects) : undefined,
      webSocket: undefined,
    }
  }
}

/** A class, since each object literal with a getter is a kind of object of its own, whose description lasts until a full garbage collection. */
class HttpBody implements RequestBody {
  readonly length: number | undefined
  held: boolean
  readonly #request: IncomingMessage
  readonly #response: ServerResponse

  constructor(request: IncomingMessage, response: ServerResponse, held: boolean) {
    const { headers } = request
    this.length = headers['transfer-encoding'] === undefined ? Number(headers['content-length']) : undefined
    this.held = held
    this.#request = request
    this.#response = response
  }

  get complete(): boolean {
    return this.#request.complete
  }

  open(): IncomingMessage {
    if (this.held && !this.#response.headersSent) this.#response.writeContinue()
    this.held = false
    return this.#request
  }
}

function renderRefusal(outcome: Outcome): Buffer {
  const { head, body } = refusal(outcome)
  return Buffer.concat([renderHead(head.status, head.reason, [['Connection', 'close'], ...pairs(head.fields)]), body])
}
