import type { Mongrel2Handler, Mongrel2Options } from '../../exchange/options.ts'
import { Binding } from '../../link/inproc/binding.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { type Mongrel2Server, serveMongrel2 } from '../../serve.ts'
import { FLOW_CONTROL_WINDOW, HANDLER_TARGETS } from '../../wire/limits.ts'
import { createMessage, SINGLE_REQUEST } from '../../wire/message.ts'
import { parseReply, type Reply } from '../../wire/reply.ts'
import { type ResponseHead, ResponseParser } from '../../wire/response-parser.ts'

/** The endpoint by which an app serves the client. Nothing is bound at these addresses outside of this process. */
export const MEMORY_ENDPOINT = {
  sendSpec: 'inproc://client',
  recvSpec: 'ipc://client',
  link: 'zmtp',
  controlPort: false,
} as const

interface MemoryAnswer {
  readonly head: ResponseHead
  /** Pieces of the body. The app is told that one is read when the next is asked for. Throws Error if the response is cut off. */
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
  readonly #sender = crypto.randomUUID()
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
   * Sends a request, and resolves with its response; rejects with Error if there is none.
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
    return { head, body: this.#read(response) }
  }

  /** Leaves before the end of the response, which then fails with a reason. */
  async leave(reason: string): Promise<void> {
    if (this.#response?.open !== true) return
    this.#response.end(reason)
    await this.#notify(['METHOD', 'JSON'], 'disconnect')
  }

  /** Waits for the tasks of `waitUntil`, and closes the server. */
  async close(): Promise<void> {
    await this.#server.close()
    this.#binding.close()
  }

  async *#read(response: MemoryResponse): AsyncGenerator<Buffer> {
    try {
      for await (const { body, size } of response.pieces()) {
        yield* body
        if (response.open) await this.#notify(['METHOD', 'JSON', 'DOWNLOAD_CREDITS', String(size)], 'credits')
      }
    } finally {
      await this.leave('')
    }
  }

  async #notify(fields: readonly string[], type: string): Promise<void> {
    await this.#deal(this.#id, '@*', fields, Buffer.from(JSON.stringify({ type })))
  }

  async #deal(connectionId: number, path: string, fields: readonly string[], body: Buffer): Promise<void> {
    await this.#binding.send(createMessage({ sender: this.#sender, connectionId, path }, fields, body))
  }

  #take(replies: readonly Reply[]): void {
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
  /** An error if it is incomplete. */
  #state: 'open' | 'complete' | Error = 'open'

  constructor(toHead: boolean) {
    this.#parser = new ResponseParser(toHead)
  }

  get open(): boolean {
    return this.#state === 'open'
  }

  push(payload: Buffer): void {
    const { head, body, complete } = this.#parser.push(payload)
    if (head !== undefined) this.head.resolve(head)
    if (complete) this.#state = 'complete'
    this.#pieces.push({ body, size: payload.length })
    this.#more.resolve()
  }

  /** The connection is closed. @param reason Why, if the response is incomplete. */
  end(reason = 'the response was cut off'): void {
    if (this.#state === 'open') this.#state = this.#parser.endsWithConnection ? 'complete' : new Error(reason)
    this.head.reject(this.#state)
    this.#more.resolve()
  }

  async *pieces(): AsyncGenerator<Piece> {
    for (;;) {
      for (let piece = this.#pieces.shift(); piece !== undefined; piece = this.#pieces.shift()) yield piece
      if (this.#state === 'complete') return
      if (this.#state instanceof Error) throw this.#state
      this.#more = deferred()
      await this.#more.promise
    }
  }
}
