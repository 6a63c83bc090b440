import { type IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { renderHead } from '../wire/http.ts'
import { type Connection, refuse } from './connection.ts'
import { HttpAnswer, hasBody, lingeringClose } from './http-answer.ts'
import type { GatewayRequest } from './request.ts'
import type { Router } from './router.ts'

/** Requests of one client that are worked on at once; those behind them wait. */
const MAX_PIPELINED = 16

/** A request whose answer has not gone out, or whose body is still read. Its connection is undefined where no handler gets it. */
interface OpenRequest {
  readonly request: IncomingMessage
  connection: Connection | undefined
}

/** A client's connection that speaks HTTP: the requests on it, of which each is a connection of its own to its handler. */
export class HttpClient {
  readonly #socket: Socket
  readonly #scheme: 'http' | 'https'
  readonly #remoteAddress: string
  readonly #router: Router
  readonly #stopping: () => boolean
  /** In the order in which they came. */
  readonly #open = new Map<ServerResponse, OpenRequest>()
  readonly #waiting: (() => void)[] = []
  #whenIdle: (() => void) | undefined
  /** Whether what the client sends is not looked at any more. */
  #ignoresInput = false

  /** @param stopping Whether connections are to end with the answers under way. */
  constructor(socket: Socket, scheme: 'http' | 'https', router: Router, stopping: () => boolean) {
    this.#socket = socket
    this.#scheme = scheme
    this.#remoteAddress = addressOf(socket.remoteAddress)
    this.#router = router
    this.#stopping = stopping
    socket.on('error', () => {}) // that the connection is over is all there is to know
    socket.on('end', () => {
      for (const { connection } of this.#open.values()) connection?.halfClose()
    })
  }

  /**
   * Takes a request.
   *
   * @param expects Whether the client waits for `100 Continue` before it sends the body.
   */
  request(request: IncomingMessage, response: ServerResponse, expects: boolean): void {
    const coding = request.headers['transfer-encoding']
    // Node takes more: others in front may find another end of the body then.
    if (coding !== undefined && coding !== 'chunked') return this.refuseRequest(request, response, 400)
    this.#enqueue(request, response, (answer) => this.#router.open(this.#describe(request, response, expects), answer))
  }

  /** Answers a request with a status, without looking at what follows. */
  refuseRequest(request: IncomingMessage, response: ServerResponse, status: number): void {
    this.#enqueue(request, response, (answer) => {
      refuse(answer, status, true)
      return undefined
    })
    this.#ignoresInput = true
  }

  /** Takes a WebSocket's handshake, with which the connection is not HTTP's any more. Nothing else may be open. */
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

  /** Answers what is no request with a status, when those before it have been answered, and ends the connection. */
  refuse(status: number): void {
    if (this.#ignoresInput) return
    this.#ignoresInput = true
    const last = [...this.#open.values()].at(-1)
    if (last !== undefined && !last.request.complete) last.connection?.refuse(status, true)
    else {
      this.whenIdle(() => {
        if (!this.#socket.writable) return
        this.#socket.write(renderRefusal(status))
        lingeringClose(this.#socket)
      })
    }
  }

  /** Does something once every answer has gone out. */
  whenIdle(action: () => void): void {
    if (this.#open.size === 0) action()
    else this.#whenIdle = action
  }

  /** Nothing has been read or written for a while. That is all right where an answer is made. */
  expire(): void {
    if (this.#open.size === 0 || this.#socket.writableLength > 0) this.#socket.destroy()
    else this.#socket.setTimeout(this.#socket.timeout ?? 0) // it does not begin again by itself
  }

  /** The client's connection is over. */
  leave(): void {
    this.#ignoresInput = true
    this.#waiting.length = 0
    this.#whenIdle = undefined
    for (const { connection } of this.#open.values()) connection?.leave()
  }

  #enqueue(
    request: IncomingMessage,
    response: ServerResponse,
    serve: (answer: HttpAnswer) => Connection | undefined,
  ): void {
    if (this.#ignoresInput) return
    if (this.#open.size < MAX_PIPELINED) return this.#start(request, response, serve)
    this.#waiting.push(() => this.#start(request, response, serve))
    this.#socket.pause()
  }

  #start(
    request: IncomingMessage,
    response: ServerResponse,
    serve: (answer: HttpAnswer) => Connection | undefined,
  ): void {
    const open: OpenRequest = { request, connection: undefined }
    this.#open.set(response, open)
    const answer = new HttpAnswer(request, response, this.#stopping)
    response.on('close', () => {
      if (hasBody(request)) void answer.released.then(() => this.#finish(response))
      else this.#finish(response)
    })
    open.connection = serve(answer)
  }

  #finish(response: ServerResponse): void {
    this.#open.delete(response)
    const next = this.#waiting.shift()
    if (next !== undefined) next()
    else if (this.#open.size === 0) this.#rest()
    if (this.#waiting.length === 0 && this.#socket.isPaused()) this.#socket.resume()
  }

  #rest(): void {
    const action = this.#whenIdle
    this.#whenIdle = undefined
    action?.()
  }

  #describe(request: IncomingMessage, response: ServerResponse, expects: boolean): GatewayRequest {
    const { method = '', url = '', httpVersion, rawHeaders, headers } = request
    const length = headers['transfer-encoding'] === undefined ? Number(headers['content-length']) : undefined
    const body = {
      length,
      held: expects,
      get complete() {
        return request.complete
      },
      open() {
        if (body.held && !response.headersSent) response.writeContinue()
        body.held = false
        return request
      },
    }
    return {
      method,
      target: url,
      version: httpVersion === '1.0' ? 'HTTP/1.0' : 'HTTP/1.1',
      fields: rawHeaders,
      remoteAddress: this.#remoteAddress,
      scheme: this.#scheme,
      body: hasBody(request) ? body : undefined,
      webSocket: undefined,
    }
  }
}

/** An IPv4 address as such where a socket for both shows it as one of IPv6; sockets in the file system have none. */
function addressOf(address = '127.0.0.1'): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '')
}

function renderRefusal(status: number): Buffer {
  const reason = STATUS_CODES[status] ?? ''
  const head = renderHead(status, reason, [
    ['Content-Type', 'text/plain'],
    ['Connection', 'close'],
    ['Content-Length', String(reason.length)],
    ['Server', 'mongrel2-fetch front'],
  ])
  return Buffer.concat([head, Buffer.from(reason)])
}
