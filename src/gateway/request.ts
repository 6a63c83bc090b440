import type { Duplex, Readable } from 'node:stream'
import type { ResponseHead } from '../wire/response-parser.ts'

/** A request, by whatever protocol it came. */
export interface GatewayRequest {
  readonly method: string
  /** The request target as the client sent it. */
  readonly target: string
  readonly version: 'HTTP/1.0' | 'HTTP/1.1'
  /** Names and values in turn; values are bytes as Latin-1. */
  readonly fields: readonly string[]
  readonly remoteAddress: string
  readonly scheme: 'http' | 'https'
  /** Undefined without a body, and for a WebSocket handshake. */
  readonly body: RequestBody | undefined
  /** Only for a WebSocket handshake. */
  readonly webSocket: WebSocketClient | undefined
}

/** A body that is read as its handler asks for it. */
export interface RequestBody {
  /** The Content-Length; undefined for a chunked body. */
  readonly length: number | undefined
  /** Whether the client waits for `100 Continue`. */
  readonly held: boolean
  /** Whether all of it has arrived. */
  readonly complete: boolean
  /** Begins to read; sends `100 Continue` to a client that waits for it. */
  open(): Readable
}

/** The client's side of a WebSocket. */
export interface WebSocketClient {
  /** Its Sec-WebSocket-Key. */
  readonly key: string
  readonly frames: Duplex
}

/** The answer to a request, in any protocol. No method throws because the client has left. */
export interface Answer {
  /** Sends the head, once; throws if the protocol cannot express it. `last`: the client's connection ends then. */
  begin(head: ResponseHead, last: boolean): void
  /** Sends the head without waiting for the body. */
  flush(): void
  /** Sends bytes of the body; calls `written` when the client's socket has taken them, or never will. */
  write(bytes: Buffer, written: () => void): void
  /** Completes the answer with these bytes. */
  end(bytes: Buffer): void
  /** The request's body is not read any more: the rest is discarded after the answer. Until then it is kept. */
  release(): void
  /** Ends an incomplete answer so that the client can see that it is incomplete. */
  cut(): void
}

/** Events after which `read` may return something else. */
const NEWS = ['readable', 'end', 'close', 'error'] as const

/** Waits for a piece of at most so many bytes; undefined when the stream has ended or was destroyed. Reads no more than that. */
export async function readPiece(stream: Readable, most: number): Promise<Buffer | undefined> {
  for (;;) {
    const piece: unknown =
      stream.readableLength === 0 ? stream.read() : stream.read(Math.min(most, stream.readableLength))
    if (piece instanceof Buffer) return piece
    if (stream.readableEnded || stream.destroyed) return undefined
    await new Promise<void>((resolve) => {
      const done = () => {
        for (const event of NEWS) stream.off(event, done)
        resolve()
      }
      for (const event of NEWS) stream.on(event, done)
    })
  }
}
