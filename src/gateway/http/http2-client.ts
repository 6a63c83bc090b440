import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { headTooLarge, noProxy, unknownExpectation } from '../../platform/outcomes.ts'
import { type Connection, refuse } from '../connection.ts'
import { destroyWhenQuiet } from '../lingering-close.ts'
import type { GatewaySettings } from '../options.ts'
import { clientAddress } from '../protocol-server.ts'
import type { GatewayRequest, RequestBody } from '../request.ts'
import type { Router } from '../router.ts'
import { Http2Answer } from './http2-answer.ts'

/** Bytes that a field of a head counts beside its name and value (RFC 9113, section 6.5.2). */
const FIELD_OVERHEAD = 32

/** A client's HTTP/2 connection. Each stream is a connection of its own for the handler. */
export class Http2Client {
  readonly #session: ServerHttp2Session
  readonly #socket: Socket
  readonly #remoteAddress: string
  readonly #router: Router
  readonly #settings: GatewaySettings
  /** Streams that are open. */
  #open = 0
  /** Ends the connection when it is without streams for too long. */
  #timer: NodeJS.Timeout | undefined

  constructor(session: ServerHttp2Session, socket: Socket, router: Router, settings: GatewaySettings) {
    this.#session = session
    this.#socket = socket
    this.#remoteAddress = clientAddress(socket.remoteAddress)
    this.#router = router
    this.#settings = settings
    const serve = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, rawHeaders: string[]) =>
      this.#serve(stream, headers, rawHeaders)
    session.on('stream', serve as Parameters<typeof session.on>[1])
    session.on('close', () => clearTimeout(this.#timer))
    socket.on('finish', () => destroyWhenQuiet(socket))
    this.#awaitStream()
  }

  /** Accepts no more requests; ends the connection after the answers to the present ones. */
  stop(): void {
    this.#session.close()
    if (this.#open === 0) this.#awaitStream()
  }

  #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
    clearTimeout(this.#timer)
    this.#open++
    stream.on('error', () => {}) // `close` follows
    stream.setTimeout(this.#settings.sendTimeout, () => {
      if (stream.writableLength > 0) stream.destroy(new Error('the client takes nothing'))
    })
    const connection = this.#begin(stream, headers, rawHeaders)
    stream.on('close', () => {
      connection?.leave()
      if (--this.#open === 0) this.#awaitStream()
    })
  }

  #begin(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: readonly string[],
  ): Connection | undefined {
    const answer = new Http2Answer(stream)
    const { expect, ':method': method = '', ':path': target = '', ':authority': authority } = headers
    if (method === 'CONNECT') return refuse(answer, noProxy(), false)
    if (expect !== undefined && expect !== '100-continue') return refuse(answer, unknownExpectation(), false)
    const fields = authority === undefined ? [] : ['host', authority]
    let size = 0
    for (let at = 0; at < rawHeaders.length; at += 2) {
      const [name = '', value = ''] = rawHeaders.slice(at, at + 2)
      size += name.length + value.length + FIELD_OVERHEAD
      if (!name.startsWith(':') && !(name === 'host' && value === authority)) fields.push(name, value)
    }
    if (size > this.#settings.bufferSize) return refuse(answer, headTooLarge(), false)
    const length = headers['content-length'] === undefined ? undefined : Number(headers['content-length'])
    const body = stream.endAfterHeaders ? undefined : new Http2Body(stream, length, expect !== undefined)
    if (body !== undefined && length === undefined) fields.push('transfer-encoding', 'chunked')
    const request: GatewayRequest = {
      method,
      target,
      // The rules for answers, which have no chunks with HTTP/1.0.
      version: 'HTTP/1.1',
      fields,
      remoteAddress: this.#remoteAddress,
      scheme: 'https',
      body,
      webSocket: undefined,
    }
    return this.#router.open(request, answer)
  }

  /** Ends the connection when no stream comes. */
  #awaitStream(): void {
    clearTimeout(this.#timer)
    const { keepAliveTimeout, sendTimeout } = this.#settings
    if (this.#session.closed) this.#timer = setTimeout(() => this.#socket.destroy(), sendTimeout)
    else this.#timer = setTimeout(() => this.stop(), keepAliveTimeout)
    this.#timer.unref()
  }
}

/** A class for the reason of `HttpBody`. */
class Http2Body implements RequestBody {
  readonly length: number | undefined
  held: boolean
  readonly #stream: ServerHttp2Stream

  constructor(stream: ServerHttp2Stream, length: number | undefined, held: boolean) {
    this.length = length
    this.held = held
    this.#stream = stream
  }

  get complete(): boolean {
    return this.#stream.readableEnded
  }

  open(): ServerHttp2Stream {
    if (this.held && !this.#stream.headersSent && !this.#stream.closed)
      this.#stream.additionalHeaders({ ':status': 100 })
    this.held = false
    return this.#stream
  }
}
