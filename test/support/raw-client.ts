import { connect, type Socket } from 'node:net'

/** A response as it came over the wire. */
export interface RawResponse {
  /** The status line, such as `HTTP/1.1 200 OK`. */
  readonly statusLine: string
  readonly status: number
  /** The fields in their order, each as often as it came. Names are as they were sent, values Latin-1. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** The body, its chunks joined. */
  readonly body: Buffer
  /** What says where the body ends. */
  readonly framing: 'none' | 'length' | 'chunked' | 'close'
  /** The sizes of the chunks, the last one of no bytes left out. */
  readonly chunks: readonly number[]
}

/** The connection ended, or was reset, before the response was complete, or it does not follow RFC 9112. */
export class BrokenResponseError extends Error {
  /** What had come of the body. */
  readonly body: Buffer

  constructor(message: string, body: Buffer = Buffer.alloc(0)) {
    super(message)
    this.body = body
  }
}

/** Opens a connection to a port of this machine. */
export async function connectRaw(port: number): Promise<RawClient> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  return new RawClient(socket)
}

/** An HTTP client that sends exactly the bytes it is given, and hides nothing of what comes back. */
export class RawClient implements Disposable {
  /** Resolves when the other side has ended the connection, in whatever way. */
  readonly closed: Promise<void>
  readonly #socket: Socket
  #received: Buffer[] = []
  #size = 0
  #ended = false
  #wake: () => void = () => {}

  constructor(socket: Socket) {
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
      this.#wake()
    })
    socket.on('error', end).on('end', end).on('close', end)
  }

  /** Whether the other side has ended the connection, as far as it has been read. */
  get ended(): boolean {
    return this.#ended
  }

  /** Writes bytes, in one write; text as Latin-1. */
  write(bytes: string | Uint8Array): void {
    this.#socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** Stops reading, as a slow client does: what comes now fills the buffers on the way. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Ends the connection at once. */
  close(): void {
    this.#socket.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /**
   * Reads the next response; what comes behind it is kept for the next call.
   *
   * @param method The method it answers: a response to HEAD has no body whatever its headers say.
   * @throws BrokenResponseError when it does not come to its end.
   */
  async read(method = 'GET'): Promise<RawResponse> {
    const head = await this.#takeThrough('\r\n\r\n')
    const [statusLine = '', ...lines] = head.toString('latin1').slice(0, -4).split('\r\n')
    const status = Number(/^HTTP\/1\.[01] (\d{3}) /.exec(statusLine)?.[1] ?? Number.NaN)
    if (Number.isNaN(status)) throw new BrokenResponseError(`expected a status line, got ${JSON.stringify(statusLine)}`)
    const headers = lines.map(parseField)
    const common = { statusLine, status, headers, chunks: [] }
    const field = (wanted: string) => headers.find(([name]) => name.toLowerCase() === wanted)?.[1]

    if (method === 'HEAD' || status < 200 || status === 204 || status === 304) {
      return { ...common, body: Buffer.alloc(0), framing: 'none' }
    }
    if (field('transfer-encoding') !== undefined)
      return { ...common, ...(await this.#chunkedBody()), framing: 'chunked' }
    const length = field('content-length')
    if (length === undefined) return { ...common, body: await this.readToEnd(), framing: 'close' }
    if (!/^\d+$/.test(length)) throw new BrokenResponseError(`expected a length, got ${JSON.stringify(length)}`)
    return { ...common, body: await this.#take(Number(length)), framing: 'length' }
  }

  /** Reads until the other side ends the connection; resolves with what has not been read before. */
  async readToEnd(): Promise<Buffer> {
    while (!this.#ended) await this.#more()
    return this.#cut(this.#size)
  }

  async #chunkedBody(): Promise<{ body: Buffer; chunks: number[] }> {
    const parts: Buffer[] = []
    const broken = (problem: string) => new BrokenResponseError(problem, Buffer.concat(parts))
    try {
      for (;;) {
        const size = (await this.#takeThrough('\r\n')).toString('latin1').slice(0, -2)
        if (!/^[0-9a-f]+$/i.test(size)) throw broken(`expected the size of a chunk, got ${JSON.stringify(size)}`)
        if (Number.parseInt(size, 16) > 0) parts.push(await this.#take(Number.parseInt(size, 16)))
        const end = (await this.#take(2)).toString('latin1')
        if (end !== '\r\n') throw broken(`expected the end of a chunk, got ${JSON.stringify(end)}`)
        if (/^0+$/.test(size)) return { body: Buffer.concat(parts), chunks: parts.map((part) => part.length) }
      }
    } catch (error) {
      if (!(error instanceof BrokenResponseError)) throw error
      throw broken(error.message)
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

function parseField(line: string): [name: string, value: string] {
  const colon = line.indexOf(':')
  if (colon < 1) throw new BrokenResponseError(`expected a header field, got ${JSON.stringify(line)}`)
  return [line.slice(0, colon), line.slice(colon + 1).trim()]
}
