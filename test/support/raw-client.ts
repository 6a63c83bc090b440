import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectSecurely } from 'node:tls'

/** What precedes a response's body. */
export interface RawHead {
  /** The status line, such as `HTTP/1.1 200 OK`. */
  readonly statusLine: string
  readonly status: number
  /** The fields in their order, each as often as it came. Names are as they were sent, values Latin-1. */
  readonly headers: readonly (readonly [name: string, value: string])[]
}

/** A response as it came over the wire. */
export interface RawResponse extends RawHead {
  /** The body, its chunks joined. */
  readonly body: Buffer
  /** What says where the body ends. */
  readonly framing: 'none' | 'length' | 'chunked' | 'close'
  /** The sizes of the chunks, the last one of no bytes left out. */
  readonly chunks: readonly number[]
}

/** The connection ended, or was reset, before the response was complete, or it does not follow RFC 9112. */
export class BrokenResponseError extends Error {
  /** What had come of the body, or of the head where that is missing. */
  readonly body: Buffer
  head: RawHead | undefined

  constructor(message: string, body: Buffer = Buffer.alloc(0)) {
    super(message)
    this.body = body
  }
}

/** The value of a field, those of several joined; undefined without one. */
export function headerOf({ headers }: RawHead, name: string): string | undefined {
  const values = headers.filter(([field]) => field.toLowerCase() === name.toLowerCase()).map(([, value]) => value)
  return values.length === 0 ? undefined : values.join(', ')
}

/** A request's line and fields, ready to be sent. */
export function request(target: string, method = 'GET', fields = '', version = '1.1'): string {
  return `${method} ${target} HTTP/${version}\r\nHost: localhost\r\n${fields}\r\n`
}

/** Asks on a connection, and resolves with the text of the answer. */
export async function get(client: RawClient, target: string): Promise<string> {
  return (await client.send(request(target)).response()).body.toString()
}

/** An HTTP client on one connection that sends exactly the bytes it is given, and hides nothing of what comes back. */
export class RawClient implements Disposable {
  /** Resolves when the other side has ended the connection, in whatever way. */
  readonly closed: Promise<void>
  readonly #socket: Socket
  #received: Buffer[] = []
  #size = 0
  #rate = Number.POSITIVE_INFINITY
  #ended = false
  #fault: NodeJS.ErrnoException | undefined
  #wake: () => void = () => {}

  /** Opens a connection to a port, of this machine or another; with options of TLS by that. */
  constructor(port: number, host = '127.0.0.1', tls?: ConnectionOptions) {
    const socket: Socket =
      tls === undefined
        ? connect({ host, port, noDelay: true })
        : connectSecurely({ host, port, ...tls }, () => socket.setNoDelay()) // has no effect before
    this.#socket = socket
    const end = () => {
      this.#ended = true
      this.#wake()
    }
    this.closed = new Promise((resolve) => {
      socket.once('end', resolve).once('close', () => resolve())
    })
    socket.on('data', (bytes) => {
      this.#received.push(bytes)
      this.#size += bytes.length
      this.#rest(bytes.length)
      this.#wake()
    })
    socket.on('error', (error) => {
      this.#fault = error
    })
    socket.on('end', end).on('close', end)
  }

  /** Whether the other side has ended the connection, as far as it has been read. */
  get ended(): boolean {
    return this.#ended
  }

  /** Bytes that have come since it connected. */
  get bytesRead(): number {
    return this.#socket.bytesRead
  }

  /** Bytes that wait here until the other side takes them. */
  get bytesUnsent(): number {
    return this.#socket.writableLength
  }

  /** Writes bytes, in one write; text as Latin-1. */
  send(bytes: string | Uint8Array): this {
    this.#socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
    return this
  }

  /** Writes bytes; resolves when the system has taken them, that is when all but what fits its buffers has been read. */
  async written(bytes: Uint8Array): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.write(bytes, (error) => (error ? reject(error) : resolve()))
    })
  }

  /** Stops reading, as a slow client does: what comes now fills the buffers on the way. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Reads so many bytes a second from now on, as a slow client does. */
  pace(rate: number): void {
    this.#rate = rate
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.#socket.destroy()
  }

  /** Ends this side alone, after what was sent. */
  end(): void {
    this.#socket.end()
  }

  /** Ends the connection so that the other side finds out at once, whatever is on its way. */
  reset(): void {
    this.#socket.resetAndDestroy()
  }

  [Symbol.dispose](): void {
    this.destroy()
  }

  /**
   * Reads the next response; what comes behind it is kept for the next call.
   *
   * @param method The method it answers: a response to HEAD has no body whatever its headers say.
   * @throws BrokenResponseError when it does not come to its end.
   */
  async response(method = 'GET'): Promise<RawResponse> {
    const head = parseHead(await this.#takeThrough('\r\n\r\n'))
    try {
      return { ...head, chunks: [], ...(await this.#body(head, method)) }
    } catch (error) {
      if (error instanceof BrokenResponseError) error.head = head
      throw error
    }
  }

  /**
   * Reads until the other side ends the connection; resolves with what has not been read before.
   *
   * @throws BrokenResponseError when it was reset rather than ended.
   */
  async readToEnd(): Promise<Buffer> {
    while (!this.#ended) await this.#more()
    if (this.#fault !== undefined) await this.#moreOrBroken()
    return this.#cut(this.#size)
  }

  #rest(bytes: number): void {
    if (this.#rate === Number.POSITIVE_INFINITY) return
    this.#socket.pause()
    setTimeout(() => this.#socket.resume(), (1000 * bytes) / this.#rate)
  }

  async #body(head: RawHead, method: string): Promise<Pick<RawResponse, 'body' | 'framing'>> {
    const { status } = head
    if (method === 'HEAD' || status < 200 || status === 204 || status === 304) {
      return { body: Buffer.alloc(0), framing: 'none' }
    }
    if (headerOf(head, 'transfer-encoding') !== undefined) return await this.#chunkedBody()
    const length = headerOf(head, 'content-length')
    if (length === undefined) return { body: await this.readToEnd(), framing: 'close' }
    if (!/^\d+$/.test(length)) throw new BrokenResponseError(`expected a length, got ${JSON.stringify(length)}`)
    return { body: await this.#take(Number(length)), framing: 'length' }
  }

  async #chunkedBody(): Promise<Pick<RawResponse, 'body' | 'framing' | 'chunks'>> {
    const parts: Buffer[] = []
    const broken = (problem: string) => new BrokenResponseError(problem, Buffer.concat(parts))
    try {
      for (;;) {
        const size = (await this.#takeThrough('\r\n')).toString('latin1').slice(0, -2)
        if (!/^[0-9a-f]+$/i.test(size)) throw broken(`expected the size of a chunk, got ${JSON.stringify(size)}`)
        if (Number.parseInt(size, 16) > 0) parts.push(await this.#take(Number.parseInt(size, 16)))
        const end = (await this.#take(2)).toString('latin1')
        if (end !== '\r\n') throw broken(`expected the end of a chunk, got ${JSON.stringify(end)}`)
        if (/^0+$/.test(size)) {
          return { body: Buffer.concat(parts), framing: 'chunked', chunks: parts.map((part) => part.length) }
        }
      }
    } catch (error) {
      if (!(error instanceof BrokenResponseError)) throw error
      throw broken(error.message) // its own body is but what has come of the chunk
    }
  }

  async #takeThrough(terminator: string): Promise<Buffer> {
    let from = 0
    for (;;) {
      const at = this.#joined().indexOf(terminator, from, 'latin1')
      if (at !== -1) return this.#cut(at + terminator.length)
      from = Math.max(0, this.#size - terminator.length + 1)
      await this.#moreOrBroken()
    }
  }

  async #take(size: number): Promise<Buffer> {
    while (this.#size < size) await this.#moreOrBroken()
    return this.#cut(size)
  }

  async #moreOrBroken(): Promise<void> {
    if (this.#fault?.code === 'ECONNREFUSED') throw this.#fault
    if (this.#ended) throw new BrokenResponseError('the connection ended amid a response', this.#joined())
    await this.#more()
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #cut(size: number): Buffer {
    const bytes = this.#joined()
    this.#received = [bytes.subarray(size)]
    this.#size -= size
    return bytes.subarray(0, size)
  }

  #joined(): Buffer {
    const bytes = this.#received.length === 1 ? this.#received[0] : undefined
    if (bytes !== undefined) return bytes
    const joined = Buffer.concat(this.#received)
    this.#received = [joined]
    return joined
  }
}

function parseHead(bytes: Buffer): RawHead {
  const [statusLine = '', ...lines] = bytes.toString('latin1').slice(0, -4).split('\r\n')
  const status = /^HTTP\/1\.[01] (\d{3}) /.exec(statusLine)?.[1]
  if (status === undefined) throw new BrokenResponseError(`expected a status line, got ${JSON.stringify(statusLine)}`)
  return { statusLine, status: Number(status), headers: lines.map(parseField) }
}

function parseField(line: string): [name: string, value: string] {
  const colon = line.indexOf(':')
  if (colon < 1) throw new BrokenResponseError(`expected a header field, got ${JSON.stringify(line)}`)
  return [line.slice(0, colon), line.slice(colon + 1).trim()]
}
