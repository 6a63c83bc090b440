import type { Duplex } from 'node:stream'

/** Reads a client's bytes at the pace of who asks for them: what nobody wants yet waits in the stream, and then at the client. */
export class ByteReader {
  readonly #stream: Duplex
  #bytes: Buffer = Buffer.alloc(0)
  #ended = false
  #wake: (() => void) | undefined

  constructor(stream: Duplex) {
    this.#stream = stream
    stream.on('readable', this.#onReadable)
    stream.on('end', () => this.stop()).on('close', () => this.stop())
  }

  readonly #onReadable = (): void => this.#wake?.()

  /** What has been read and not taken. */
  get bytes(): Buffer {
    return this.#bytes
  }

  /** Reads on; false when nothing more will come. */
  async more(): Promise<boolean> {
    while (!this.#ended) {
      const chunk: unknown = this.#stream.read()
      if (chunk instanceof Buffer) {
        this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
        return true
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
    return false
  }

  /** Takes so many of the bytes that are there. */
  take(size: number): Buffer {
    const taken = this.#bytes.subarray(0, size)
    this.#bytes = this.#bytes.subarray(size)
    return taken
  }

  /** Takes so many bytes when they have come; undefined when they never will. */
  async takeAll(size: number): Promise<Buffer | undefined> {
    const pieces: Buffer[] = []
    for (let missing = size; ; ) {
      const piece = this.take(Math.min(missing, this.#bytes.length))
      pieces.push(piece)
      missing -= piece.length
      if (missing === 0) return pieces.length === 1 ? piece : Buffer.concat(pieces)
      if (!(await this.more())) return undefined
    }
  }

  /** Ends here: nothing more comes, whatever the client sends. */
  stop(): void {
    this.#ended = true
    this.#wake?.()
  }

  /** Throws away what the client still sends; resolves when it has ended, or nothing came for so many milliseconds. */
  discard(quiet: number): Promise<void> {
    this.stop()
    this.#stream.removeAllListeners('readable') // with one of anybody's, it does not flow
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, quiet).unref()
      if (this.#stream.readableEnded) resolve()
      this.#stream
        .on('end', resolve)
        .on('close', resolve)
        .on('data', () => timer.refresh())
        .resume()
    })
  }
}
