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
  /** Parses bytes, in whatever pieces they come; what was right before a fault is passed on. Throws MalformedError. */
  read(bytes: Buffer, take: (incoming: Incoming) => void): void
  /** Whether variables have begun and are incomplete. */
  readonly partial: boolean
  /** Whether the front server wants to use the connection again. */
  readonly keepsAlive: boolean
  /** @param fields Names and values in turn. */
  renderHead(status: number, reason: string, fields: readonly string[]): Buffer
  /** Frames the next bytes of an answer, which may be none; `ended`: with its end. */
  frame(bytes: Buffer, ended: boolean): readonly Buffer[]
  /** Ends a malformed request that has no answer. */
  renderFault(): Buffer
}
