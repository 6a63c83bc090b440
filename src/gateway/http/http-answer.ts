import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { deferred } from '../../runtime/promises.ts'
import { renderHead } from '../../wire/http.ts'
import { pairs, type ResponseHead } from '../../wire/response-parser.ts'
import { closeSoon, destroyWhenQuiet, lingeringClose } from '../lingering-close.ts'
import type { Answer } from '../request.ts'
import { endToEnd } from '../response-fields.ts'

/** The last bytes of a body up to this size are joined with the head in one write. */
const SMALL = 8 * 1024

/** An answer by Node's `ServerResponse`, which orders and frames answers. */
export class HttpAnswer implements Answer {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #stopping: () => boolean
  readonly #released = deferred<void>()
  #isReleased = false
  /** The destination of bytes after a 101. */
  #switched: Socket | undefined

  /** @param stopping Whether connections end with their present answer. */
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
    // Node 22 to 26 lose bytes that come in one read with a request whose upgrade was declined.
    const lossy = this.#request.headers.upgrade !== undefined
    if (last || lossy || closes(fields) || this.#stopping()) this.#response.shouldKeepAlive = false
    if (hasBody(this.#request) && !(this.#isReleased && this.#request.complete)) this.#beginDuringBody(socket)
    this.#response.writeHead(status, reason, endToEnd(fields))
  }

  /** Resolves when the request's body is not read any more. */
  get released(): Promise<void> {
    return this.#released.promise
  }

  release(): void {
    this.#isReleased = true
    this.#released.resolve()
  }

  /** The handler may still read the body while it answers. Once it releases the body, the rest is discarded or the connection ends. */
  #beginDuringBody(socket: Socket): void {
    const request = this.#request
    // At the end of the answer Node discards a body that was never read.
    request._read(0)
    const discard = async (end: typeof drain) => {
      await this.#released.promise
      end(socket, request)
    }
    if (this.#response.shouldKeepAlive) this.#response.once('finish', () => void discard(drain))
    else socket.destroySoon = () => void discard(closeDuringBody)
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
    // Node joins a string with the head: one write.
    else this.#response.end(bytes.toString('latin1'), 'latin1')
  }

  /** Earlier answers still go out complete. */
  cut(): void {
    const { socket } = this.#request
    if (this.#switched !== undefined || this.#response.socket !== null) closeSoon(socket)
    // The event comes before the response writes what it has buffered.
    else this.#response.once('socket', () => process.nextTick(closeSoon, socket))
  }
}

/** Whether the handler wants the connection to end with its answer. */
function closes(fields: readonly string[]): boolean {
  return fields.some(
    (name, at) => at % 2 === 0 && name.toLowerCase() === 'connection' && fields[at + 1]?.toLowerCase() === 'close',
  )
}

/** Whether a body follows a request's head. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Discards the rest of a body; ends the connection if that takes too long. */
function drain(socket: Socket, request: IncomingMessage): void {
  if (!request.complete) request.once('end', destroyWhenQuiet(socket))
  discardRest(request)
}

function closeDuringBody(socket: Socket, request: IncomingMessage): void {
  discardRest(request)
  lingeringClose(socket)
}

function discardRest(request: IncomingMessage): void {
  // `readPiece` may still wait.
  request.removeAllListeners('readable').resume()
}
