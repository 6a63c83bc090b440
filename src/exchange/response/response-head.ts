import type { RequestSemantics } from '../../connection/request-semantics.ts'
import { httpDate, isReserved, listItems, reasonOf } from '../../wire/http.ts'
import { invalidResponse } from './check-response.ts'
import { joinResponse } from './plain-response.ts'
import type { ResponseSink } from './response-sink.ts'

export const CHUNKED = 'transfer-encoding: chunked\r\n'
/** Bytes of a body up to which it is copied behind its head: another write would cost more. */
const MOST_JOINED = 4096
const NOTHING = new Uint8Array(0)
const NO_OPTIONS: readonly string[] = []

export function lengthLine(length: number | undefined): string {
  return length === undefined ? '' : `content-length: ${length}\r\n`
}

/** How a response's body is framed. */
interface BodyFraming {
  /** The line of the header section that says it. */
  readonly line: string
  /** Whether the whole body goes out with the head. */
  readonly complete: boolean
  /** Whether the client sees the body's end before the connection's. Default: true. */
  readonly delimited?: boolean
  /** All of the body, if it is to be written, too. Default: none. */
  readonly body?: Uint8Array
}

/** The handler's status and header fields as they go out. */
export class ResponseHead {
  /** The handler's content-length. */
  readonly length: number | undefined
  readonly #lines: string
  /** Whether the handler closes the connection. */
  readonly #closes: boolean

  /** @throws Mongrel2Error `invalid_response` for a content-length that is no number. */
  constructor({ status, statusText, headers }: Response) {
    const connection = headers.get('connection')
    const options = connection === null ? NO_OPTIONS : listItems(connection)
    this.#closes = options.includes('close')
    let lines = `HTTP/1.1 ${status} ${statusText || reasonOf(status)}\r\n`
    let length: number | undefined
    let dated = false
    headers.forEach((value, name) => {
      if (isReserved(name) || options.includes(name)) return
      if (name === 'content-length') {
        const expected = "a number as the response's content-length"
        if (!/^\d+$/.test(value)) throw invalidResponse(expected, JSON.stringify(value))
        length = Number(value)
        return
      }
      if (name === 'date') dated = true
      lines += `${name}: ${value}\r\n`
    })
    this.length = length
    this.#lines = dated ? lines : `${lines}date: ${httpDate()}\r\n`
  }

  /** Writes it, and the body if that is given. Returns whether the connection can be used again. */
  write(sink: ResponseSink, { http10 }: RequestSemantics, framing: BodyFraming): boolean {
    const { line, complete, delimited = true, body = NOTHING } = framing
    const reusable = sink.persists(complete) && !this.#closes && delimited
    let head = this.#lines + line
    if (!reusable) head += 'connection: close\r\n'
    else if (http10) head += 'connection: keep-alive\r\n'
    const joined = body.length <= MOST_JOINED ? body : NOTHING
    sink.write(joinResponse(`${head}\r\n`, joined, joined.length))
    if (joined !== body) sink.write(body)
    return reusable
  }
}
