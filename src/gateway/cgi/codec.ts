import type { Variables } from './variables.ts'

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

/** Bytes up to which pieces are joined, which costs less than separate writes. */
const JOINED = 16 * 1024

/** What differs between the protocols that front servers speak in place of HTTP, for one connection. */
export interface Codec {
  /** Parses bytes, in whatever pieces they come; what was right before a fault is passed on. Throws MalformedError. */
  read(bytes: Buffer, take: (incoming: Incoming) => void): void
  /** Whether variables have begun and are incomplete. */
  readonly partial: boolean
  /** Whether the front server wants to use the connection again. */
  readonly keepsAlive: boolean
  /** What stands before the status in an answer's first line. */
  readonly beforeStatus: 'HTTP/1.1' | 'Status:'
  /**
   * Frames the next bytes of an answer, which may be none; what is small comes in one piece.
   *
   * @param head Lines in Latin-1, which come first.
   * @param ended Whether the answer ends with them.
   */
  frame(head: string, pieces: readonly Buffer[], ended: boolean): readonly Buffer[]
  /** Ends a malformed request that has no answer. */
  renderFault(): Buffer
}

/** Bytes of a head and of pieces, where they are few enough to be joined; otherwise undefined. */
export function joinedSize(head: string, pieces: readonly Buffer[]): number | undefined {
  let size = head.length
  for (const { length } of pieces) size += length
  return size <= JOINED ? size : undefined
}

/** Writes a head and pieces one after another into a buffer; returns the position behind them. */
export function copyInto(to: Buffer, at: number, head: string, pieces: readonly Buffer[]): number {
  let end = at + to.write(head, at, 'latin1')
  for (const piece of pieces) {
    to.set(piece, end)
    end += piece.length
  }
  return end
}
