import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { MalformedError } from '../../wire/malformed.ts'
import type { Connection } from '../connection.ts'
import { lingeringClose } from '../lingering-close.ts'
import type { GatewaySettings } from '../options.ts'
import type { RequestBody } from '../request.ts'
import type { Router } from '../router.ts'
import { CgiAnswer } from './cgi-answer.ts'
import type { Codec, Incoming } from './codec.ts'
import { requestOf, type Variables } from './variables.ts'

/** Bytes of replies beside answers that may wait. */
const MOST_UNSENT = 64 * 1024

/** A request whose answer is not complete, or whose body is still read. It has no connection where no handler gets it. */
interface OpenRequest {
  readonly answer: CgiAnswer
  readonly body: Body | undefined
  connection: Connection | undefined
}

/** What a client needs of its server. */
export interface ClientContext {
  readonly router: Router
  readonly settings: GatewaySettings
  /** Counts malformed input and logs it. */
  reportFault(reason: string): void
  /** Whether connections end with their present answer. */
  stopping(): boolean
}

/** A front server's connection. It has one request at a time. */
export class CgiClient {
  readonly #socket: Socket
  readonly #codec: Codec
  readonly #context: ClientContext
  /** The address of the front server; undefined by a socket in the file system. */
  readonly #peer: string | undefined
  #open: OpenRequest | undefined
  /** When the wait for a request ends, by `performance.now()`. */
  #deadline: number
  /** Whether the connection waits for its next request. */
  #idle = false
  /** Bytes of replies beside answers that the socket has not taken. */
  #unsentReplies = 0
  /** Whether the connection ends, and further input is ignored. */
  #ending = false

  constructor(socket: Socket, codec: Codec, context: ClientContext) {
    this.#socket = socket
    this.#codec = codec
    this.#context = context
    this.#peer = socket.remoteAddress
    this.#deadline = performance.now() + context.settings.headersTimeout
    socket.on('error', () => {}) // `close` follows
    socket.on('data', (bytes) => this.#read(bytes))
    socket.on('end', () => this.#ended())
    socket.on('close', () => this.#leave())
    socket.setTimeout(context.settings.sendTimeout, () => this.#stalled())
  }

  /** Ends the connection if it has no request. */
  stop(): void {
    if (this.#open === undefined && !this.#ending) this.#socket.destroy()
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.#socket.destroy()
  }

  /** Ends the connection when a request takes too long to come. */
  expire(now: number): void {
    if (now < this.#deadline) return
    if (this.#codec.partial) this.#context.reportFault('the rest of a request did not come in time')
    this.#socket.destroy()
  }

  #read(bytes: Buffer): void {
    if (this.#ending) return
    try {
      this.#codec.read(bytes, this.#take)
      if (this.#ending) return
      if (this.#idle && this.#codec.partial) {
        this.#idle = false
        this.#deadline = performance.now() + this.#context.settings.headersTimeout
      }
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
      if (!this.#ending) this.#fail(error.message)
    }
  }

  readonly #take = (incoming: Incoming): void => {
    if (this.#ending) return
    switch (incoming.type) {
      case 'request':
        return this.#begin(incoming.variables, incoming.length)
      case 'body':
        if (this.#open?.body?.push(incoming.bytes) === false) this.#socket.pause()
        return
      case 'body end':
        this.#open?.body?.end()
        return this.#open?.answer.bodyEnd()
      case 'abort':
        return this.#abort()
      case 'reply':
        return this.#reply(incoming.bytes)
    }
  }

  #begin(variables: Variables, length: number | undefined): void {
    const { router } = this.#context
    this.#idle = false
    this.#deadline = Number.POSITIVE_INFINITY
    const body = length === 0 ? undefined : new Body(length, () => this.#socket.resume())
    const request = requestOf(variables, length, this.#peer, body)
    const answer = new CgiAnswer(this.#socket, this.#codec, (released) => this.#finish(released))
    const open: OpenRequest = { answer, body, connection: undefined }
    this.#open = open
    open.connection = router.open(request, answer)
  }

  #reply(bytes: Buffer): void {
    this.#unsentReplies += bytes.length
    if (this.#unsentReplies > MOST_UNSENT) throw new MalformedError('the front server asks more than it reads answers')
    this.#socket.write(bytes, () => {
      this.#unsentReplies -= bytes.length
    })
  }

  /** The answer is written. */
  #finish(released: boolean): void {
    const { body, connection } = this.#open ?? {}
    this.#open = undefined
    if (!released) connection?.leave() // the handler may still read a body that has come
    if (body?.complete === false) body.stream.destroy()
    if (this.#codec.keepsAlive && body?.complete !== false && !this.#context.stopping()) {
      this.#idle = true
      this.#deadline = performance.now() + this.#context.settings.keepAliveTimeout
      this.#socket.resume()
    } else {
      this.#ending = true
      lingeringClose(this.#socket)
    }
  }

  #abort(): void {
    const { answer, connection } = this.#open ?? {}
    answer?.abandon()
    connection?.leave()
    for (const piece of this.#codec.frame('', [], true)) this.#socket.write(piece)
    this.#finish(true)
  }

  /** The front server sends no more: no protocol here has a use for half a connection, so it has left. */
  #ended(): void {
    if (this.#ending) return
    if (this.#codec.partial) this.#context.reportFault('the connection ended within a request')
    this.#socket.destroy()
  }

  #fail(reason: string): void {
    this.#context.reportFault(reason)
    if (this.#open?.answer.begun !== true) {
      this.#open?.answer.abandon()
      this.#socket.end(this.#codec.renderFault())
      this.#socket.destroySoon()
    }
    this.#leave() // cuts an answer that has begun
  }

  /** Closes a connection whose front server does not read. */
  #stalled(): void {
    if (this.#socket.writableLength > 0) this.#socket.destroy()
    else this.#socket.setTimeout(this.#socket.timeout ?? 0) // the timer does not restart by itself
  }

  #leave(): void {
    const { body, connection } = this.#open ?? {}
    this.#deadline = Number.POSITIVE_INFINITY
    this.#ending = true
    this.#open = undefined
    connection?.leave()
    if (body?.complete === false) body.stream.destroy()
  }
}

/** A request's body, which is read from the socket as its handler asks for it. */
class Body implements RequestBody {
  readonly length: number | undefined
  readonly held = false
  readonly stream: Readable
  complete = false

  /** @param read Called when there is room for more. */
  constructor(length: number | undefined, read: () => void) {
    this.length = length
    this.stream = new Readable({ read })
  }

  /** Adds bytes; false if there is no room for more. */
  push(bytes: Buffer): boolean {
    return this.stream.push(bytes)
  }

  end(): void {
    this.complete = true
    this.stream.push(null)
  }

  open(): Readable {
    return this.stream
  }
}
