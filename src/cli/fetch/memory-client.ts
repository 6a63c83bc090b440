import { v4 } from 'uuid'
import type { Mongrel2Handler, Mongrel2Options } from '../../exchange/options.ts'
import { Binding } from '../../link/inproc/binding.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { type Mongrel2Server, serveMongrel2 } from '../../serve.ts'
import { FLOW_CONTROL_WINDOW, HANDLER_TARGETS } from '../../wire/limits.ts'
import { createMessage, SINGLE_REQUEST } from '../../wire/message.ts'
import { parseReply } from '../../wire/reply.ts'
import { type ResponseHead, ResponseParser } from '../../wire/response-parser.ts'

/** The endpoint by which an app serves the client. Nothing is bound at these addresses outside of this process. */
export const MEMORY_ENDPOINT = {
  sendSpec: 'inproc://client',
  recvSpec: 'ipc://client',
  link: 'zmtp',
  controlPort: false,
} as const

export interface MemoryAnswer {
  readonly head: ResponseHead
  /** Pieces of the body. The handler is told that one is read when the next is asked for. Throws Error if the response is cut. */
  readonly body: AsyncIterable<Buffer>
}

/** Bytes of a response that came. */
interface Piece {
  readonly body: readonly Buffer[]
  /** Bytes of the reply. */
  readonly size: number
}

/** Sends an app requests as Mongrel2 does, one at a time, within this process. */
export class MemoryClient {
  readonly #binding: Binding
  readonly #server: Mongrel2Server
  readonly #sender = v4()
  #id = 0
  #response: MemoryResponse | undefined

  private constructor(handler: Mongrel2Handler, options: Mongrel2Options) {
    const { sendSpec, recvSpec } = MEMORY_ENDPOINT
    this.#binding = new Binding([sendSpec, recvSpec], '', (replies) => this.#take(replies))
    this.#server = serveMongrel2(handler, options)
  }

  /** @param options Have the endpoint `MEMORY_ENDPOINT`. */
  static async start(handler: Mongrel2Handler, options: Mongrel2Options): Promise<MemoryClient> {
    const client = new MemoryClient(handler, options)
    await client.#server.ready
    return client
  }

  /**
   * Sends a request, and resolves with its response; rejects with Error if the connection is closed before.
   *
   * @param fields The message's headers, Mongrel2's own among them: names and values in turn.
   */
  async send(path: string, fields: readonly string[], body: Buffer): Promise<MemoryAnswer> {
    const toHead = fields.some((name, at) => name === 'METHOD' && at % 2 === 0 && fields[at + 1] === 'HEAD')
    const id = ++this.#id
    const response = new MemoryResponse(toHead)
    this.#response = response
    const ours = ['DOWNLOAD_CREDITS', String(FLOW_CONTROL_WINDOW), SINGLE_REQUEST, '1']
    const theirs = fields.filter((_, at) => !ours.includes(fields[at - (at % 2)] as string))
    await this.#deal(id, path, [...theirs, ...ours], body)
    const head = await response.head.promise
    return { head, body: response.read((bytes) => void this.#notify(id, bytes)) }
  }

  /** Waits for the tasks of `waitUntil`, and closes the server. */
  async close(): Promise<void> {
    await this.#server.close()
    this.#binding.close()
  }

  async #notify(id: number, bytes: number): Promise<void> {
    const fields = ['METHOD', 'JSON', 'DOWNLOAD_CREDITS', String(bytes)]
    await this.#deal(id, '@*', fields, Buffer.from('{"type":"credits"}'))
  }

  async #deal(connectionId: number, path: string, fields: readonly string[], body: Buffer): Promise<void> {
    await this.#binding.send(createMessage({ sender: this.#sender, connectionId, path }, fields, body))
  }

  #take(replies: readonly Buffer[]): void {
    for (const reply of replies) {
      const { connectionIds, content } = parseReply(reply, HANDLER_TARGETS)
      if (!connectionIds.includes(this.#id)) continue
      if ('payload' in content && content.payload.length > 0) this.#response?.push(content.payload)
      else if ('payload' in content || 'cancel' in content.control) this.#response?.end()
    }
  }
}

/** A response that arrives. */
class MemoryResponse {
  readonly head: Deferred<ResponseHead> = deferred()
  readonly #parser: ResponseParser
  readonly #pieces: Piece[] = []
  #more: Deferred<void> = deferred()
  #state: 'open' | 'complete' | 'cut' = 'open'

  constructor(toHead: boolean) {
    this.#parser = new ResponseParser(toHead)
  }

  push(payload: Buffer): void {
    const { head, body, complete } = this.#parser.push(payload)
    if (head !== undefined) this.head.resolve(head)
    if (complete) this.#state = 'complete'
    this.#pieces.push({ body, size: payload.length })
    this.#more.resolve()
  }

  /** The connection is closed. */
  end(): void {
    if (this.#state === 'open') this.#state = this.#parser.endsWithConnection ? 'complete' : 'cut'
    this.head.reject(new Error('the app closed the connection without a response'))
    this.#more.resolve()
  }

  async *read(taken: (bytes: number) => void): AsyncGenerator<Buffer> {
    for (;;) {
      for (let piece = this.#pieces.shift(); piece !== undefined; piece = this.#pieces.shift()) {
        yield* piece.body
        if (this.#state === 'open') taken(piece.size)
      }
      if (this.#state === 'complete') return
      if (this.#state === 'cut') throw new Error('the response was cut off')
      this.#more = deferred()
      await this.#more.promise
    }
  }
}
