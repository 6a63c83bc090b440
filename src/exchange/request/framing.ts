import { kindOf } from '../../connection/request-semantics.ts'
import type { MessageHeaders } from '../../wire/headers.ts'
import { MAX_CONTENT_LENGTH, MOST_FIELD_VALUES } from '../../wire/limits.ts'
import type { Message } from '../../wire/message.ts'

/** What a request's headers say about its body, once they are found to agree (RFC 9112, section 6). */
export interface Framing {
  /** The Content-Length in bytes; undefined without one. */
  readonly length: number | undefined
  /** Whether the body came in chunks. */
  readonly chunked: boolean
}

/** Mongrel2 leaves the blanks behind a value. No others are cut off: it reads a length behind a no-break space as none. */
const LENGTH = /^[ \t]*(\d+)[ \t]*$/

/**
 * Checks that a request's length is said once and clearly. Mongrel2 lets through what desynchronises it from a proxy in
 * front (request smuggling), so whatever is not plain is refused.
 *
 * @returns The framing, or a sentence that says what is wrong.
 */
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

/** Whether a body of so many bytes is what the headers announce; chunked ones never come within a message. */
export function agrees(framing: Framing, bytes: number): boolean {
  return !framing.chunked && (framing.length ?? 0) === bytes
}

/** A length as Mongrel2 reads it, with `strtol`: blanks and a plus sign before it and anything behind it do not count. */
const STRTOL = /^[ \t-\r]*\+?(\d+)/

/**
 * Whether Mongrel2 must have stored the body in a file: one was announced in the way that Mongrel2 reads it, and the message has
 * none. It takes the first Content-Length, and only without one a Transfer-Encoding; so this holds for headers that `framingOf`
 * refuses, too. A WebSocket's frame has the headers of its handshake, whose length nobody looked at, and a streamed body is not stored.
 */
export function isStored(message: Message): boolean {
  const { body, headers } = message
  if (body.length > 0 || !isAnnounced(headers)) return false
  return kindOf(message) === 'request' && headers.own('UPLOAD_STREAM') === undefined
}

/** Whether Mongrel2 expects a body. */
function isAnnounced(headers: MessageHeaders): boolean {
  const length = headers.first('content-length')
  if (length === undefined) return headers.first('transfer-encoding') === 'chunked'
  const bytes = Number(STRTOL.exec(length)?.[1])
  return bytes > 0 && bytes <= MAX_CONTENT_LENGTH
}
