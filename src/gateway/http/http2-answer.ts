import { validateHeaderValue } from 'node:http'
import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { pairs, type ResponseHead } from '../../wire/response-parser.ts'
import { LINGER_TIME } from '../lingering-close.ts'
import type { Answer } from '../request.ts'
import { endToEnd } from '../response-fields.ts'

/** An answer on a stream of HTTP/2. */
export class Http2Answer implements Answer {
  readonly #stream: ServerHttp2Stream
  #released = false

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream
  }

  begin({ status, fields }: ResponseHead): void {
    const headers = headersOf(fields)
    if (this.#stream.destroyed || this.#stream.closed) return
    // Node closes a stream whose body was never read when it is answered.
    if (!this.#released) this.#stream.read(0)
    this.#stream.respond({ ...headers, ':status': status })
  }

  flush(): void {}

  write(bytes: Buffer, written: () => void): void {
    // Not writable where there is no body, such as after HEAD.
    if (this.#stream.writable) this.#stream.write(bytes, () => written())
    else written()
  }

  end(bytes: Buffer): void {
    if (this.#stream.writable) this.#stream.end(bytes)
    if (this.#stream.writableFinished) this.#finish()
    else this.#stream.once('finish', () => this.#finish())
  }

  release(): void {
    this.#released = true
    this.#finish()
  }

  cut(): void {
    // `close` would first end the answer as if it were complete.
    const reset = () => this.#stream.destroy(new Error('the answer is incomplete'))
    if (this.#stream.writableLength === 0) reset()
    else this.#stream.write('', reset)
  }

  /** Discards the rest of a body that is not read any more; after a while the client is told to send no more (RFC 9113, section 8.1). */
  #finish(): void {
    const stream = this.#stream
    if (!stream.writableFinished || !this.#released || stream.readableEnded) return
    stream.removeAllListeners('readable').resume() // `readPiece` may still wait
    const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), LINGER_TIME).unref()
    stream.once('close', () => clearTimeout(timer))
  }
}

/** The fields of a head as HTTP/2 has them: names in lower case, none about a connection. Throws for a value that no field can have. */
function headersOf(fields: readonly string[]): OutgoingHttpHeaders {
  const headers: Record<string, string[]> = {}
  for (const [name, value] of pairs(endToEnd(fields))) {
    const lower = name.toLowerCase()
    if (lower === 'upgrade') continue
    validateHeaderValue(lower, value)
    headers[lower] = [...(headers[lower] ?? []), value]
  }
  return headers
}
