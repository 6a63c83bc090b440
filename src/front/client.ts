import { createHash } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { type Deferred, deferred, delay } from '../deferred.ts'
import { FLOW_CONTROL_WINDOW, MAX_CONTENT_LENGTH } from '../wire/limits.ts'
import { MalformedError } from '../wire/malformed.ts'
import type { ParsedReply } from '../wire/parse-reply.ts'
import { ByteReader } from './byte-reader.ts'
import { type Chunk, chunkIn } from './chunk.ts'
import { Delivery } from './delivery.ts'
import { FrameReader } from './frame-reader.ts'
import type { Handler } from './handler.ts'
import { bodyLength, headEnd, parseRequestHead, type RequestHead, webSocketKey } from './request-head.ts'
import { CONTINUE, REFUSALS } from './status.ts'

/** What holds for every client of a front. */
export interface ClientSettings {
  readonly uploads: 'stream' | 'none'
  readonly flowControl: boolean
  readonly noClobberXff: boolean
  /** `limits.buffer_size`: bytes that a head may have. */
  readonly bufferSize: number
  /** `limits.content_length`: bytes of a body that come within its request's message. */
  readonly contentLength: number
  /** Whether a chunk is passed on when its data has come. Mongrel2 waits for the line's end behind it, which some clients send with the next. */
  readonly eagerChunks: boolean
  /** Whether a WebSocket may begin on a connection that has had requests; Mongrel2 ends it. */
  readonly lateHandshakes: boolean
  /**
   * Milliseconds without a byte either way, or a sign from the handler that it is at work, after which a client is gone, and that a head may
   * take from its first byte to its last; 0 is for ever.
   */
  readonly idleTimeout: number
}

/** Where a client comes from. */
export interface ClientOrigin {
  readonly remoteAddress: string
  readonly scheme: 'http' | 'https'
}

/** A route that fits a path. */
export interface Route {
  readonly pattern: string
  readonly handler: Handler
}

type Fields = Map<string, string | readonly string[]>

/** A request that goes to a handler. */
interface Arrival extends Route {
  readonly head: RequestHead
  readonly fields: Fields
}

/** What becomes of a connection behind a request. */
type Outcome = 'goes on' | 'is over'

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const NOTHING = Buffer.alloc(0)
/**
 * How long a client may go on sending behind our end, so that no reset takes away what it has not read, in milliseconds: between two
 * pieces, and in all.
 */
const LINGER_QUIET = 1000
const LINGER_TIME = 30_000

/** A client's connection: what it sends becomes messages, replies become bytes for it. */
export class Client {
  readonly id: number
  readonly #stream: Duplex
  readonly #origin: ClientOrigin
  readonly #settings: ClientSettings
  readonly #route: (path: string) => Route | undefined
  readonly #reader: ByteReader
  readonly #delivery: Delivery
  /** The Handler of the last message: notices go there. */
  #handler: Handler | undefined
  #killed = false
  #knowsWindow = false
  /** Bytes of an upload that the handler has asked for and not got; chunks, which come whole, may make it negative. */
  #credits = 0
  #wake: Deferred<void> | undefined
  #idle: NodeJS.Timeout | undefined

  constructor(
    id: number,
    stream: Duplex,
    origin: ClientOrigin,
    settings: ClientSettings,
    route: (path: string) => Route | undefined,
  ) {
    this.id = id
    this.#stream = stream
    this.#origin = origin
    this.#settings = settings
    this.#route = route
    this.#reader = new ByteReader(stream)
    this.#delivery = new Delivery(stream, settings.flowControl, (bytes) => {
      this.#idle?.refresh()
      if (settings.flowControl) this.#handler?.notifyCredits(id, bytes)
    })
    stream.on('error', () => {}) // that the connection is over is all there is to know
    const end = () => {
      clearTimeout(this.#idle)
      this.#reader.stop()
      this.#wake?.resolve()
    }
    stream.on('finish', end).on('close', end)
    if (settings.idleTimeout === 0) return
    this.#idle = setTimeout(() => stream.destroy(), settings.idleTimeout)
    stream.on('readable', () => this.#idle?.refresh())
  }

  /** Reads requests until the connection is over, by whoever's will, and tells the handler if it was the client's. */
  async run(): Promise<void> {
    if ((await this.#request(true)) === 'goes on') while ((await this.#request(false)) === 'goes on');
    if (!this.#killed && !this.#delivery.ending) this.#handler?.notifyLeave(this.id)
  }

  /** Ends the stream once the client has had time to read what it was sent. */
  async linger(): Promise<void> {
    if (this.#stream.writableEnded) await Promise.race([this.#reader.discard(LINGER_QUIET), delay(LINGER_TIME)])
    this.#stream.destroy()
  }

  /** Takes what a handler has published for this client; false when the connection is over. */
  take(content: ParsedReply['content']): boolean {
    if (this.#killed) return false
    this.#idle?.refresh()
    if ('payload' in content) this.#deliver(content.payload)
    else if ('cancel' in content.control && !this.#delivery.closing) this.kill()
    else if ('credits' in content.control) {
      this.#credits += content.control.credits
      this.#wake?.resolve()
    }
    return true
  }

  /** Ends the connection at once; the handler hears nothing of it. */
  kill(): void {
    this.#killed = true
    this.#stream.destroy()
  }

  #deliver(payload: Buffer): void {
    if (payload.length === 0) this.#delivery.close()
    else if (!this.#delivery.send(payload)) this.kill()
  }

  async #request(first: boolean): Promise<Outcome> {
    const bytes = await this.#head()
    if (bytes === undefined) return 'is over'
    const head = parseRequestHead(bytes)
    if (head === undefined) return this.#refuse(REFUSALS.badRequest)
    const route = this.#route(head.path)
    if (route === undefined) return this.#refuse(REFUSALS.notFound)
    const arrival = { ...route, head, fields: this.#fields(head, route.pattern) }
    const key = webSocketKey(head)
    if (key !== undefined && !first && !this.#settings.lateHandshakes) {
      this.kill()
      return 'is over'
    }
    const expectation = head.fields.get('expect')?.[0]
    if (expectation === '100-continue') this.#stream.write(CONTINUE)
    else if (expectation !== undefined) return this.#refuse(REFUSALS.expectationFailed)
    return key === undefined ? await this.#body(arrival) : await this.#webSocket(arrival, key)
  }

  /** A head's bytes; undefined when the client has left, or has been refused for sending too many. */
  async #head(): Promise<Buffer | undefined> {
    const { bufferSize, idleTimeout } = this.#settings
    let began: number | undefined
    for (;;) {
      const end = headEnd(this.#reader.bytes, bufferSize)
      if (end !== -1) return this.#reader.take(end)
      if (this.#reader.bytes.length >= bufferSize) this.#refuse(REFUSALS.badRequest)
      if (!(await this.#reader.more())) return undefined
      began ??= performance.now()
      if (idleTimeout > 0 && performance.now() - began > idleTimeout) this.#refuse(REFUSALS.badRequest)
    }
  }

  #refuse(answer: Buffer): Outcome {
    this.#stream.end(answer)
    this.#reader.stop()
    return 'is over'
  }

  #fields(head: RequestHead, pattern: string): Fields {
    const { noClobberXff, flowControl } = this.#settings
    const fields: Fields = new Map()
    for (const [name, values] of head.fields) fields.set(name, values.length === 1 ? (values[0] as string) : values)
    if (!noClobberXff) fields.set('x-forwarded-for', this.#origin.remoteAddress)
    if (flowControl && !this.#knowsWindow) fields.set('DOWNLOAD_CREDITS', String(FLOW_CONTROL_WINDOW))
    this.#knowsWindow = true
    const own: Readonly<Record<string, string | undefined>> = {
      PATH: head.path,
      METHOD: head.method,
      VERSION: head.version,
      URI: head.uri,
      QUERY: head.query,
      FRAGMENT: head.fragment,
      PATTERN: pattern,
      URL_SCHEME: this.#origin.scheme,
      REMOTE_ADDR: this.#origin.remoteAddress,
    }
    for (const [name, value] of Object.entries(own)) if (value !== undefined) fields.set(name, value)
    return fields
  }

  async #send({ handler, head }: Arrival, fields: Fields, body: Uint8Array): Promise<void> {
    this.#handler = handler
    await handler.send(this.id, head.path, fields, body)
  }

  async #body(arrival: Arrival): Promise<Outcome> {
    const length = bodyLength(arrival.head, MAX_CONTENT_LENGTH)
    if (length === 'chunked' || length > this.#settings.contentLength) {
      if (this.#settings.uploads === 'none') return this.#refuse(REFUSALS.tooLarge)
      return length === 'chunked' ? await this.#chunks(arrival) : await this.#pieces(arrival, length)
    }
    const body = await this.#reader.takeAll(length)
    if (body === undefined) return 'is over'
    await this.#send(arrival, arrival.fields, body)
    return 'goes on'
  }

  /** Streams a body whose length is known: what has been read already at once, the rest as the handler asks for it. */
  async #pieces(arrival: Arrival, length: number): Promise<Outcome> {
    const { contentLength } = this.#settings
    this.#credits = 0
    const first = this.#reader.take(Math.min(this.#reader.bytes.length, length, contentLength))
    await this.#send(arrival, arrival.fields.set('UPLOAD_STREAM', '0'), first)
    for (let offset = first.length; offset < length; ) {
      if (!(await this.#asked())) return 'is over'
      if (this.#reader.bytes.length === 0 && !(await this.#reader.more())) return 'is over'
      const most = Math.min(this.#reader.bytes.length, length - offset, this.#credits, contentLength)
      const piece = this.#reader.take(most)
      await this.#sendPart(arrival, offset, piece, offset + piece.length === length)
      offset += piece.length
    }
    return 'goes on'
  }

  /** Streams a body in chunks: its headers at once, then chunk by chunk as the handler asks for more. */
  async #chunks(arrival: Arrival): Promise<Outcome> {
    this.#credits = 0
    await this.#send(arrival, arrival.fields.set('UPLOAD_STREAM', '0'), NOTHING)
    for (let offset = 0; ; ) {
      const chunk = (await this.#asked()) && (await this.#betweenChunks(offset)) ? await this.#chunk() : undefined
      if (chunk === undefined) return 'is over'
      const piece = this.#reader.take(chunk.next).subarray(chunk.start, chunk.end)
      await this.#sendPart(arrival, offset, piece, piece.length === 0)
      if (piece.length === 0) return 'goes on'
      offset += piece.length
    }
  }

  /** Reads the line's end that an eager chunk has left behind; false when something else comes. */
  async #betweenChunks(offset: number): Promise<boolean> {
    if (offset === 0 || !this.#settings.eagerChunks) return true
    return (await this.#reader.takeAll(2))?.toString('latin1') === '\r\n'
  }

  async #chunk(): Promise<Chunk | undefined> {
    const { contentLength, eagerChunks } = this.#settings
    for (;;) {
      const chunk = chunkIn(this.#reader.bytes, contentLength, eagerChunks)
      if (chunk === 'broken') return undefined
      if (chunk !== 'incomplete') return chunk
      if (!(await this.#reader.more())) return undefined
    }
  }

  async #sendPart(arrival: Arrival, offset: number, piece: Buffer, done: boolean): Promise<void> {
    this.#credits -= piece.length
    const fields: Fields = new Map([['UPLOAD_STREAM', String(offset)]])
    await this.#send(arrival, done ? fields.set('UPLOAD_STREAM_DONE', '1') : fields, piece)
  }

  /** Waits until the handler has asked for more of an upload; false when the connection is over. */
  async #asked(): Promise<boolean> {
    while (this.#credits <= 0) {
      if (this.#stream.destroyed || this.#stream.writableFinished) return false
      this.#wake = deferred()
      await this.#wake.promise
    }
    return true
  }

  /** The handshake's message has what Sec-WebSocket-Accept must say; the 101 is the handler's, whose frames are bytes as any. */
  async #webSocket(arrival: Arrival, key: string): Promise<Outcome> {
    const accept = createHash('sha1').update(`${key}${WEBSOCKET_GUID}`, 'latin1').digest('base64')
    await this.#send(arrival, arrival.fields.set('METHOD', 'WEBSOCKET_HANDSHAKE'), Buffer.from(accept))
    arrival.fields.set('METHOD', 'WEBSOCKET')
    const frames = new FrameReader(this.#reader)
    try {
      for (let frame = await frames.next(); frame !== undefined; frame = await frames.next()) {
        const flags = `0x${frame.flags.toString(16).toUpperCase()}`
        await this.#send(arrival, arrival.fields.set('FLAGS', flags), frame.payload)
      }
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
    }
    return 'is over'
  }
}
