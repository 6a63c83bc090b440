import type { HeaderField } from '../../wire/headers.ts'

/** Names and values in turn, as sent; bytes as Latin-1. */
export type Variables = readonly string[]

/** What a front server says on its connection. */
export type Incoming =
  /** A request. `length`: bytes of its body, undefined if only its end tells. */
  | { readonly type: 'request'; readonly variables: Variables; readonly length: number | undefined }
  | { readonly type: 'body'; readonly bytes: Buffer }
  | { readonly type: 'body end' }
  /** The front server wants no answer any more. */
  | { readonly type: 'abort' }
  /** Bytes to send to the front server at once. */
  | { readonly type: 'reply'; readonly bytes: Buffer }

/** What differs between the protocols that front servers speak in place of HTTP, for one connection. */
export interface Codec {
  /** Parses bytes, in whatever pieces they come. Throws MalformedError. */
  read(bytes: Buffer): Iterable<Incoming>
  /** Whether variables have begun and are incomplete. */
  readonly partial: boolean
  /** Whether the front server wants to use the connection again. */
  readonly keepsAlive: boolean
  renderHead(status: number, reason: string, fields: readonly HeaderField[]): readonly Buffer[]
  /** @param bytes Not empty. */
  renderBody(bytes: Buffer): readonly Buffer[]
  /** Ends the answer. */
  renderEnd(): readonly Buffer[]
  /** Ends a malformed request that has no answer. */
  renderFault(): Buffer
}
