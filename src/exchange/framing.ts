import { MAX_CONTENT_LENGTH } from '../wire/limits.ts'
import type { Message } from '../wire/message.ts'

/** What a request's headers say about its body, once they are found to agree (RFC 9112, section 6). */
export interface Framing {
  /** The Content-Length in bytes; undefined without one. */
  readonly length: number | undefined
  /** Whether the body came in chunks. */
  readonly chunked: boolean
}

const DIGITS = /^\d+$/

/**
 * Checks that a request's length is said once and clearly. Mongrel2 lets through what desynchronises it from a proxy in
 * front (request smuggling), so whatever is not plain is refused.
 *
 * @returns The framing, or a sentence that says what is wrong.
 */
export function framingOf(message: Message): Framing | string {
  let length: string | undefined
  let coding: string | undefined
  for (const [name, raw] of message.fields) {
    const value = raw.trim() // Mongrel2 leaves the blanks behind a value
    if (name === 'content-length') {
      if (length !== undefined && length !== value) return 'Content-Length differs from Content-Length'
      length = value
    } else if (name === 'transfer-encoding') {
      if (coding !== undefined) return 'Transfer-Encoding came twice'
      coding = value
    }
  }
  if (length !== undefined && coding !== undefined) return 'Content-Length and Transfer-Encoding came together'
  if (coding !== undefined && coding !== 'chunked') return 'Transfer-Encoding is not chunked'
  if (length !== undefined && (!DIGITS.test(length) || Number(length) > MAX_CONTENT_LENGTH)) {
    return `Content-Length is not a number from 0 to ${MAX_CONTENT_LENGTH}`
  }
  return { length: length === undefined ? undefined : Number(length), chunked: coding !== undefined }
}

/** Whether a body of so many bytes is what the headers announce; chunked ones never come within a message. */
export function agrees(framing: Framing, bytes: number): boolean {
  return !framing.chunked && (framing.length ?? 0) === bytes
}
