import { MAX_CONTENT_LENGTH, MOST_FIELD_VALUES } from '../../wire/limits.ts'
import type { Message } from '../../wire/message.ts'

/** The framing of a request's body, by headers that agree (RFC 9112, section 6). */
export interface Framing {
  /** The Content-Length in bytes; undefined without one. */
  readonly length: number | undefined
  /** Whether the body came in chunks. */
  readonly chunked: boolean
}

type UploadHeaders =
  | { readonly stage: 'none' }
  | { readonly stage: 'start' | 'done'; readonly path: string }
  | { readonly stage: 'forged'; readonly reason: string }

const START = 'x-mongrel2-upload-start'
const DONE = 'x-mongrel2-upload-done'

/** Spaces and tabs around a value are allowed, other white space is not: Mongrel2 reads no length after a no-break space. */
const LENGTH = /^[ \t]*(\d+)[ \t]*$/
/** A length as Mongrel2 reads it, with `strtol`: after white space and a plus sign, and before anything. */
const STRTOL = /^[ \t-\r]*\+?(\d+)/

/** Reads the framing of a body, or says why it is ambiguous: a proxy in front could read it in another way (request smuggling). */
export function framingOf(message: Message): Framing | string {
  let length: string | undefined
  const lengths = message.headers.all('content-length')
  if (lengths.length >= MOST_FIELD_VALUES) return 'Content-Length came too often'
  for (const value of lengths) {
    const digits = LENGTH.exec(value)?.[1]
    if (digits === undefined || Number(digits) > MAX_CONTENT_LENGTH) {
      return `Content-Length is not a number from 0 to ${MAX_CONTENT_LENGTH}`
    }
    if (length !== undefined && length !== digits) return 'Content-Length differs from Content-Length'
    length = digits
  }
  const codings = message.headers.all('transfer-encoding')
  if (codings.length > 1) return 'Transfer-Encoding came twice'
  const [coding] = codings
  if (length !== undefined && coding !== undefined) return 'Content-Length and Transfer-Encoding came together'
  if (coding !== undefined && coding !== 'chunked') return 'Transfer-Encoding is not chunked'
  return { length: length === undefined ? undefined : Number(length), chunked: coding !== undefined }
}

/** Whether the headers announce a body of so many bytes in the message; a chunked body never comes in the message. */
export function agrees(framing: Framing, bytes: number): boolean {
  return !framing.chunked && (framing.length ?? 0) === bytes
}

/** Reads the upload headers. A client can write them too, but where Mongrel2 stored a body it has overwritten `start`. */
export function uploadHeadersOf(message: Message): UploadHeaders {
  const starts = message.headers.all(START)
  const dones = message.headers.all(DONE)
  const [start] = starts
  const [done] = dones
  if (start === undefined && done === undefined) return { stage: 'none' }
  if (!isStored(message)) return { stage: 'forged', reason: 'Mongrel2 would not have stored the body of this request' }
  if (start === undefined || starts.length > 1 || dones.length > 1) {
    return { stage: 'forged', reason: `expected one ${START} and at most one ${DONE}` }
  }
  if (done === undefined) return { stage: 'start', path: start }
  if (done !== start) return { stage: 'forged', reason: `${DONE} names another file than ${START}` }
  return { stage: 'done', path: start }
}

/**
 * Whether Mongrel2 must have stored the body in a file: the headers, as Mongrel2 reads them, announce one, and the message has none. That holds for
 * headers that `framingOf` refuses, too. Frames have the unchecked headers of their handshake; a streamed body is not stored.
 */
function isStored({ kind, headers, body }: Message): boolean {
  if (kind !== 'request' || body.length > 0) return false
  // Mongrel2 reads the first Content-Length, or without one the Transfer-Encoding.
  const length = headers.first('content-length')
  if (length === undefined) return headers.first('transfer-encoding') === 'chunked'
  const bytes = Number(STRTOL.exec(length)?.[1])
  return bytes > 0 && bytes <= MAX_CONTENT_LENGTH
}
