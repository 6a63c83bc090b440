import type { Duplex, Readable } from 'node:stream'
import type { ResponseHead } from '../wire/response-parser.ts'

/** A request, by whatever protocol it came. */
export interface GatewayRequest {
  readonly method: string
  /** The request target as the client sent it. */
  readonly target: string
  readonly version: 'HTTP/1.0' | 'HTTP/1.1'
  /** Names and values in turn, in their order; values are bytes as Latin-1. */
  readonly fields: readonly string[]
  readonly remoteAddress: string
  readonly scheme: 'http' | 'https'
  /** Undefined for a request without a body, and for a WebSocket's handshake. */
  readonly body: RequestBody | undefined
  /** What follows a WebSocket's handshake; undefined for other requests. */
  readonly webSocket: WebSocketClient | undefined
}

/** A body that is read as its handler asks for it. */
export interface RequestBody {
  /** The length that was announced; undefined for a body in chunks. */
  readonly length: number | undefined
  /** Whether the client waits for leave to send it. */
  readonly held: boolean
  /** Whether all of it has come. */
  readonly complete: boolean
  /** Begins to read: a client that waits for leave to send gets it now. */
  open(): Readable
}

/** The client's side of a WebSocket. */
export interface WebSocketClient {
  /** Its Sec-WebSocket-Key. */
  readonly key: string
  readonly frames: Duplex
}

/** Where the answer to a request goes, in whatever protocol. No method throws because the client has left. */
export interface Answer {
  /**
   * Sends the head; called once.
   *
   * @param last Whether the client's connection has to end with this answer.
   * @throws When its protocol cannot say what the head says.
   */
  begin(head: ResponseHead, last: boolean): void
  /** Sends the head now, without waiting for the body. */
  flush(): void
  /** Sends bytes of the body; `written` is called when the client's socket has taken them, or never will. */
  write(bytes: Buffer, written: () => void): void
  /** The answer is complete with these bytes. */
  end(bytes: Buffer): void
  /** Nobody reads the request's body any more: what still comes behind the answer is thrown away. Until then it is kept. */
  release(): void
  /** The answer cannot be completed: what was sent of it must not look complete. */
  cut(): void
}

/** Events by which a stream says that `read` may give something else now. */
const NEWS = ['readable', 'end', 'close', 'error'] as const

/**
 * Reads a piece of at most so many bytes once there is one, so that what nobody asks for stays with the client.
 *
 * @returns undefined when the stream has ended, or was destroyed before its end.
 */
export async function readPiece(stream: Readable, most: number): Promise<Buffer | undefined> {
  for (;;) {
    const piece: unknown =
      stream.readableLength === 0 ? stream.read() : stream.read(Math.min(most, stream.readableLength))
    if (piece instanceof Buffer) return piece
    if (stream.readableEnded || stream.destroyed) return undefined
    await news(stream)
  }
}

function news(stream: Readable): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const event of NEWS) stream.off(event, done)
      resolve()
    }
    for (const event of NEWS) stream.on(event, done)
  })
}
