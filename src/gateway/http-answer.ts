import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { deferred } from '../runtime/promises.ts'
import type { HeaderField } from '../wire/headers.ts'
import { renderHead } from '../wire/http.ts'
import type { ResponseHead } from '../wire/response-parser.ts'
import type { Answer } from './request.ts'

/** Fields that speak of one connection (RFC 9110, section 7.6.1): Node says them to the client. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding'])
/** Bytes of a body that are worth copying to go out in one write with the head. */
const SMALL = 8 * 1024
/**
 * Time that a client may go on sending behind our end, so that no reset takes away what it has not read, in milliseconds: between two
 * pieces, and in all.
 */
const LINGER_QUIET = 1000
const LINGER_TIME = 30_000

/** An answer by Node's `ServerResponse`, which keeps the order of answers and frames them as the client can read them. */
export class HttpAnswer implements Answer {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #stopping: () => boolean
  readonly #released = deferred<void>()
  #isReleased = false
  /** Where bytes go behind a 101. */
  #switched: Socket | undefined

  /** @param stopping Whether connections are to end with the answers under way. */
  constructor(request: IncomingMessage, response: ServerResponse, stopping: () => boolean) {
    this.#request = request
    this.#response = response
    this.#stopping = stopping
  }

  begin({ status, reason, fields }: ResponseHead, last: boolean): void {
    const { socket } = this.#request
    if (status === 101) {
      this.#switched = socket
      socket.write(renderHead(status, reason, pairs(fields)))
      return
    }
    // Node 22 to 26 lose what comes in one read with a request whose upgrade they were told not to make.
    const lossy = this.#request.headers.upgrade !== undefined
    if (last || lossy || closes(fields) || this.#stopping()) this.#response.shouldKeepAlive = false
    if (hasBody(this.#request) && !(this.#isReleased && this.#request.complete)) this.#beginAmidBody(socket)
    this.#response.writeHead(status, reason, endToEnd(fields))
  }

  /** Resolves when nobody reads the request's body any more. */
  get released(): Promise<void> {
    return this.#released.promise
  }

  release(): void {
    this.#isReleased = true
    this.#released.resolve()
  }

  /**
   * The client may still send, and the handler, which says whether the connection goes on, read that or not. Once it has let go of the
   * body, the rest is thrown away, or the connection ends.
   */
  #beginAmidBody(socket: Socket): void {
    const request = this.#request
    // At the end of the answer Node throws away a body of which nothing has been asked for.
    request._read(0)
    const discard = async (end: typeof drain) => {
      await this.#released.promise
      end(socket, request)
    }
    if (this.#response.shouldKeepAlive) this.#response.once('finish', () => void discard(drain))
    else socket.destroySoon = () => void discard(lingeringClose)
  }

  flush(): void {
    if (this.#switched === undefined) this.#response.flushHeaders()
  }

  write(bytes: Buffer, written: () => void): void {
    if (this.#switched === undefined) this.#response.write(bytes, written)
    else this.#switched.write(bytes, written)
  }

  end(bytes: Buffer): void {
    if (this.#switched !== undefined) {
      if (bytes.length > 0) this.#switched.write(bytes)
      lingeringClose(this.#switched)
    } else if (bytes.length > SMALL) this.#response.end(bytes)
    // Node joins a text with the head: one write.
    else this.#response.end(bytes.toString('latin1'), 'latin1')
  }

  /** Answers before this one go out whole. */
  cut(): void {
    const { socket } = this.#request
    if (this.#switched !== undefined || this.#response.socket !== null) closeSoon(socket)
    // It is told of the socket before it writes there what it has kept.
    else this.#response.once('socket', () => process.nextTick(closeSoon, socket))
  }
}

/** Whether a body follows a request's head. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Ends a connection behind what was written, and throws away for a while what the client still sends. */
export function lingeringClose(socket: Socket, request?: IncomingMessage): void {
  socket.end()
  if (request !== undefined) discardRest(request)
  socket.resume()
  if (socket.writableFinished) destroyWhenQuiet(socket)
  else socket.once('finish', () => destroyWhenQuiet(socket))
  if (socket.readableEnded) closeSoon(socket)
  else socket.once('end', () => closeSoon(socket))
}

/** Throws away what is left of a body; ends the connection if that takes too long. */
function drain(socket: Socket, request: IncomingMessage): void {
  if (!request.complete) request.once('end', destroyWhenQuiet(socket))
  discardRest(request)
}

/** Destroys a socket when nothing more comes, or in a while; returns what prevents that. */
function destroyWhenQuiet(socket: Socket): () => void {
  let read = socket.bytesRead
  let left = LINGER_TIME / LINGER_QUIET
  const timer = setInterval(() => {
    if (socket.bytesRead === read || --left === 0) {
      socket.destroy()
      clearInterval(timer)
    }
    read = socket.bytesRead
  }, LINGER_QUIET).unref()
  return () => clearInterval(timer)
}

function discardRest(request: IncomingMessage): void {
  // Somebody may still wait for a piece.
  request.removeAllListeners('readable').resume()
}

/** Ends a connection behind what was written. */
function closeSoon(socket: Socket): void {
  if (socket.writable) socket.end()
  if (socket.writableFinished) socket.destroy()
  else socket.once('finish', () => socket.destroy())
}

/** Whether a response says that its connection ends with it. */
function closes(fields: readonly string[]): boolean {
  for (let at = 0; at < fields.length; at += 2) {
    const isConnection = fields[at]?.toLowerCase() === 'connection'
    if (isConnection && fields[at + 1]?.toLowerCase() === 'close') return true
  }
  return false
}

function endToEnd(fields: readonly string[]): string[] {
  const kept: string[] = []
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] as string
    if (!HOP_BY_HOP.has(name.toLowerCase())) kept.push(name, fields[at + 1] as string)
  }
  return kept
}

function pairs(fields: readonly string[]): HeaderField[] {
  const list: HeaderField[] = []
  for (let at = 0; at < fields.length; at += 2) list.push([fields[at] as string, fields[at + 1] as string])
  return list
}
