import { createHash } from 'node:crypto'

/** A response of which the body was not kept. */
export interface DigestedResponse {
  readonly status: number
  /** Names in lower case; of several fields with one name the last. */
  readonly headers: ReadonlyMap<string, string>
  /** Bytes of the body, without the framing of chunks. */
  readonly bytes: number
  /** Of the body, in hexadecimal digits. */
  readonly sha256: string
}

type State = 'head' | 'length' | 'chunk size' | 'chunk' | 'chunk end' | 'trailer'

/** Reads HTTP/1.1 responses to GET as their bytes come (RFC 9112), chunked ones included, and keeps a digest of each body. */
export class ResponseDigest {
  /** Responses that have come in full. */
  readonly responses: DigestedResponse[] = []
  #state: State = 'head'
  /** What has come of the head, or of a line. */
  #text = ''
  #status = 0
  #headers = new Map<string, string>()
  /** Bytes that are still to come of the body or the chunk. */
  #left = 0
  #bytes = 0
  #hash = createHash('sha256')

  /** Bytes that have come of the body that is under way. */
  get bytes(): number {
    return this.#bytes
  }

  /** @throws Error when the bytes are no response. */
  feed(bytes: Buffer): void {
    for (let rest = bytes; rest.length > 0; ) rest = this.#step(rest)
  }

  /** Reads one thing and returns what follows it. */
  #step(bytes: Buffer): Buffer {
    switch (this.#state) {
      case 'head':
        return this.#upTo('\r\n\r\n', bytes, (head) => this.#begin(head))
      case 'chunk size':
        return this.#upTo('\r\n', bytes, (line) => {
          if (!/^[0-9a-f]+$/i.test(line)) throw new Error(`expected the size of a chunk, got ${JSON.stringify(line)}`)
          this.#left = Number.parseInt(line, 16)
          this.#state = this.#left === 0 ? 'trailer' : 'chunk'
        })
      case 'chunk end':
        return this.#upTo('\r\n', bytes, (line) => {
          if (line !== '') throw new Error(`expected the end of a chunk, got ${JSON.stringify(line)}`)
          this.#state = 'chunk size'
        })
      case 'trailer':
        return this.#upTo('\r\n', bytes, (line) => {
          if (line !== '') throw new Error(`expected no trailer, got ${JSON.stringify(line)}`)
          this.#finish()
        })
      case 'chunk':
        return this.#take(bytes, this.#left, () => {
          this.#state = 'chunk end'
        })
      case 'length':
        return this.#take(bytes, this.#left, () => this.#finish())
    }
  }

  #upTo(terminator: string, bytes: Buffer, found: (text: string) => void): Buffer {
    const before = this.#text.length
    this.#text += bytes.toString('latin1', 0, 65_536)
    const at = this.#text.indexOf(terminator)
    if (at === -1) return bytes.subarray(65_536)
    const text = this.#text.slice(0, at)
    this.#text = ''
    found(text)
    return bytes.subarray(at + terminator.length - before)
  }

  #take(bytes: Buffer, most: number, complete: () => void): Buffer {
    const piece = bytes.length <= most ? bytes : bytes.subarray(0, most)
    this.#hash.update(piece)
    this.#bytes += piece.length
    this.#left -= piece.length
    if (piece.length === most) complete()
    return bytes.subarray(piece.length)
  }

  #begin(head: string): void {
    const [statusLine = '', ...lines] = head.split('\r\n')
    const status = /^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]
    if (status === undefined) throw new Error(`expected a status line, got ${JSON.stringify(statusLine)}`)
    this.#status = Number(status)
    this.#headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
      }),
    )
    const length = this.#headers.get('content-length')
    if (this.#headers.has('transfer-encoding')) this.#state = 'chunk size'
    else if (length === undefined) throw new Error(`expected a length or chunks, got ${JSON.stringify(head)}`)
    else {
      this.#left = Number(length)
      this.#state = 'length'
      if (this.#left === 0) this.#finish()
    }
  }

  #finish(): void {
    this.responses.push({
      status: this.#status,
      headers: this.#headers,
      bytes: this.#bytes,
      sha256: this.#hash.digest('hex'),
    })
    this.#state = 'head'
    this.#bytes = 0
    this.#hash = createHash('sha256')
  }
}
