import type { HeaderField } from './headers.ts'
import { TOKEN } from './http.ts'
import { MalformedError, malformed } from './malformed.ts'

/** A response's status line and fields. */
export interface ResponseHead {
  readonly status: number
  readonly reason: string
  /** Names and values in turn, as sent; values are bytes as Latin-1. */
  readonly fields: readonly string[]
}

/** The parsed content of some bytes of a response. */
export interface ResponsePart {
  /** The head, if it ends in these bytes. */
  readonly head: ResponseHead | undefined
  /** Pieces of the body, without its framing. */
  readonly body: readonly Buffer[]
  /** Whether the response is complete. */
  readonly complete: boolean
}

/** Bytes that a head, a line of a chunked body, or a trailer may have: more than any handler sends. */
const MAX_LINES = 1024 * 1024
const STATUS_LINE = /^HTTP\/1\.[01] ([1-9]\d\d)(?: (.*))?$/
const LINE_BREAK = /[\r\n]/
const CHUNK_SIZE = /^([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?$/
const LENGTH = /^\d{1,15}$/
const CRLF = '\r\n'
const NOTHING = Buffer.alloc(0)

/** The next element of the response. */
type State = 'head' | 'length' | 'chunk size' | 'chunk' | 'chunk end' | 'trailers' | 'rest' | 'complete'

/**
 * Parses one HTTP/1.1 response (RFC 9112) from the pieces that a handler publishes. Skips interim responses, drops trailers. After a 101,
 * and without a length, all the rest is body.
 */
export class ResponseParser {
  readonly #toHead: boolean
  #state: State = 'head'
  /** An incomplete head or line. */
  #pending: Buffer = NOTHING
  /** The position from which to search for its end. */
  #searched = 0
  #missing = 0
  #head: ResponseHead | undefined
  #body: Buffer[] = []

  /** @param toHead Whether the request was HEAD, whose response has no body. */
  constructor(toHead: boolean) {
    this.#toHead = toHead
  }

  /** Whether only the end of the connection ends the response. */
  get endsWithConnection(): boolean {
    return this.#state === 'rest'
  }

  /** Parses the next bytes; ignores those after a complete response. Throws MalformedError for a malformed one. */
  push(bytes: Buffer): ResponsePart {
    this.#head = undefined
    this.#body = []
    let rest = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes])
    this.#pending = NOTHING
    while (rest.length > 0 && this.#state !== 'complete') {
      const next = this.#step(rest)
      if (next === undefined) {
        if (rest.length > MAX_LINES) throw new MalformedError(`a head or line of more than ${MAX_LINES} bytes`)
        this.#pending = rest
        break
      }
      rest = next
    }
    return { head: this.#head, body: this.#body, complete: this.#state === 'complete' }
  }

  /** Reads the next element; returns the rest, or undefined if the element is incomplete. */
  #step(bytes: Buffer): Buffer | undefined {
    switch (this.#state) {
      case 'head':
        return this.#readThrough(bytes, CRLF + CRLF, (text) => this.#readHead(text))
      case 'length':
        return this.#readData(bytes, 'complete')
      case 'chunk':
        return this.#readData(bytes, 'chunk end')
      case 'chunk size':
        return this.#readThrough(bytes, CRLF, (text) => this.#readSize(text))
      case 'chunk end':
        return this.#readThrough(bytes, CRLF, (text) => {
          if (text !== '') throw new MalformedError('a chunk is longer than its size says')
          this.#state = 'chunk size'
        })
      case 'trailers':
        return this.#readThrough(bytes, CRLF, (text) => {
          if (text === '') this.#state = 'complete'
        })
      default:
        this.#body.push(bytes)
        return NOTHING
    }
  }

  #readThrough(bytes: Buffer, terminator: string, read: (text: string) => void): Buffer | undefined {
    const end = bytes.indexOf(terminator, this.#searched, 'latin1')
    if (end === -1) {
      this.#searched = Math.max(0, bytes.length - terminator.length + 1)
      return undefined
    }
    this.#searched = 0
    read(bytes.toString('latin1', 0, end))
    return bytes.subarray(end + terminator.length)
  }

  #readData(bytes: Buffer, next: State): Buffer {
    const size = Math.min(bytes.length, this.#missing)
    this.#body.push(size === bytes.length ? bytes : bytes.subarray(0, size))
    this.#missing -= size
    if (this.#missing === 0) this.#state = next
    return size === bytes.length ? NOTHING : bytes.subarray(size)
  }

  #readHead(text: string): void {
    const firstEnd = lineEnd(text, 0)
    const first = text.slice(0, firstEnd)
    const [, status, reason = ''] = STATUS_LINE.exec(first) ?? []
    if (status === undefined) throw malformed('a status line', first)
    const fields: string[] = []
    let length: string | undefined
    let chunked = false
    for (let start = firstEnd + CRLF.length; start < text.length; ) {
      const end = lineEnd(text, start)
      const line = text.slice(start, end)
      start = end + CRLF.length
      const name = line.slice(0, Math.max(0, line.indexOf(':')))
      if (!TOKEN.test(name) || LINE_BREAK.test(line)) throw malformed('a field', line)
      const trimmed = line.slice(name.length + 1).trim()
      fields.push(name, trimmed)
      const lower = name.toLowerCase()
      if (lower === 'transfer-encoding') chunked = true
      if (lower !== 'content-length') continue
      if (length !== undefined && length !== trimmed) {
        throw new MalformedError(`expected one Content-Length, got ${JSON.stringify([length, trimmed]).slice(0, 80)}`)
      }
      length = trimmed
    }
    const head = { status: Number(status), reason, fields: chunked ? withoutLength(fields) : fields }
    if (head.status < 200 && head.status !== 101) return
    this.#head = head
    this.#state = this.#stateAfter(head.status, chunked, length)
  }

  /** The state after a head (RFC 9112, section 6.3). */
  #stateAfter(status: number, chunked: boolean, length: string | undefined): State {
    if (status === 101) return 'rest'
    if (this.#toHead || status === 204 || status === 304) return 'complete'
    if (chunked) return 'chunk size'
    if (length === undefined) return 'rest'
    if (!LENGTH.test(length)) throw malformed('a length', length)
    this.#missing = Number(length)
    return this.#missing === 0 ? 'complete' : 'length'
  }

  #readSize(text: string): void {
    const size = CHUNK_SIZE.exec(text)?.[1]
    if (size === undefined) throw malformed("a chunk's size", text)
    this.#missing = Number.parseInt(size, 16)
    this.#state = this.#missing === 0 ? 'trailers' : 'chunk'
  }
}

function lineEnd(text: string, start: number): number {
  const end = text.indexOf(CRLF, start)
  return end === -1 ? text.length : end
}

/** Chunks override a length, which must not be passed on then (RFC 9112, section 6.3). */
function withoutLength(fields: readonly string[]): string[] {
  return fields.filter((_, at) => fields[at - (at % 2)]?.toLowerCase() !== 'content-length')
}

/** The fields of a `ResponseHead` as pairs. */
export function pairs(fields: readonly string[]): HeaderField[] {
  const list: HeaderField[] = []
  for (let at = 0; at < fields.length; at += 2) list.push([fields[at] as string, fields[at + 1] as string])
  return list
}
