import type { RequestSemantics } from '../../connection/request-semantics.ts'
import type { HeaderField } from '../../wire/headers.ts'
import { httpDate, isReserved, listItems, reasonOf, renderHead } from '../../wire/http.ts'
import { invalidResponse } from './check-response.ts'
import type { ResponseSink } from './send-response.ts'

export const CHUNKED: readonly HeaderField[] = [['transfer-encoding', 'chunked']]

export function lengthField(length: number | undefined): HeaderField[] {
  return length === undefined ? [] : [['content-length', String(length)]]
}

/** How a response's body is framed. */
interface BodyFraming {
  readonly fields: readonly HeaderField[]
  /** Whether the whole body goes out with the head. */
  readonly complete: boolean
  /** Whether the client sees the body's end before the connection's. Default: true. */
  readonly delimited?: boolean
}

/** The handler's status and header fields as they go out. */
export class ResponseHead {
  /** The handler's content-length. */
  readonly length: number | undefined
  readonly #status: number
  readonly #reason: string
  readonly #fields: HeaderField[] = []
  /** Whether the handler closes the connection. */
  readonly #closes: boolean

  /** @throws Mongrel2Error `invalid_response` for a content-length that is no number. */
  constructor({ status, statusText, headers }: Response) {
    this.#status = status
    this.#reason = statusText || reasonOf(status)
    const options = listItems(headers.get('connection') ?? '')
    this.#closes = options.includes('close')
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
      this.#fields.push([name, value])
    })
    this.length = length
    if (!dated) this.#fields.push(['date', httpDate()])
  }

  /** Writes it. Returns whether the connection can be used again. */
  write(sink: ResponseSink, { http10 }: RequestSemantics, framing: BodyFraming): boolean {
    const { fields, complete, delimited = true } = framing
    const reusable = sink.persists(complete) && !this.#closes && delimited
    const all = [...this.#fields, ...fields]
    if (!reusable) all.push(['connection', 'close'])
    else if (http10) all.push(['connection', 'keep-alive'])
    sink.write(renderHead(this.#status, this.#reason, all))
    return reusable
  }
}
