import type { DeflateRaw, InflateRaw } from 'node:zlib'
import { CLOSE_CODE, WebSocketFault } from '../wire/websocket/frames.ts'

const zlib = () => process.getBuiltinModule('node:zlib')

/** The end of a sync flush, left out on the wire (RFC 7692, section 7.2.1). */
const TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff])
const MOST_WINDOW_BITS = 15
/** A parameter of an offer, its value perhaps quoted. */
const PARAMETER = /^([\w-]+)(?:\s*=\s*(?:"(\w+)"|(\w+)))?$/
/** The parameters that an offer may have, with their values; empty for none. */
const VALUES: ReadonlyMap<string, RegExp> = new Map([
  ['server_no_context_takeover', /^$/],
  ['client_no_context_takeover', /^$/],
  // With 8, zlib uses 9 in raw deflate, which a client that asked for 8 cannot read.
  ['server_max_window_bits', /^(?:9|1[0-5])$/],
  // The client would use a smaller window if we asked. We can read any.
  ['client_max_window_bits', /^(?:[89]|1[0-5])?$/],
])

/** The parameters in use. */
interface DeflateTerms {
  /** Whether our messages may refer to earlier ones. */
  readonly serverTakeover: boolean
  /** Whether the client's messages may. */
  readonly clientTakeover: boolean
  /** The window of our messages, in bits. */
  readonly serverWindowBits: number
}

/** Accepts the first of a client's offers that can be met (RFC 7692, section 7.1). With `takeover`, messages may refer to earlier ones. */
export function acceptDeflate(offers: readonly string[], takeover: boolean): DeflateTerms | undefined {
  for (const offer of offers) {
    const parameters = parametersOf(offer)
    if (parameters === undefined) continue
    return {
      serverTakeover: takeover && !parameters.has('server_no_context_takeover'),
      clientTakeover: takeover && !parameters.has('client_no_context_takeover'),
      serverWindowBits: Number(parameters.get('server_max_window_bits') ?? MOST_WINDOW_BITS),
    }
  }
  return undefined
}

/** Renders the answer's Sec-WebSocket-Extensions. */
export function renderDeflate({ serverTakeover, clientTakeover, serverWindowBits }: DeflateTerms): string {
  return [
    'permessage-deflate',
    ...(serverTakeover ? [] : ['server_no_context_takeover']),
    ...(clientTakeover ? [] : ['client_no_context_takeover']),
    ...(serverWindowBits === MOST_WINDOW_BITS ? [] : [`server_max_window_bits=${serverWindowBits}`]),
  ].join('; ')
}

/** The parameters of an offer of permessage-deflate; undefined for another extension, or where one cannot be met or comes twice. */
function parametersOf(offer: string): Map<string, string> | undefined {
  const [name, ...items] = offer.split(';').map((item) => item.trim())
  if (name?.toLowerCase() !== 'permessage-deflate') return undefined
  const parameters = new Map<string, string>()
  for (const item of items) {
    const [, parameter = '', quoted, plain] = PARAMETER.exec(item) ?? []
    const value = quoted ?? plain ?? ''
    if (parameters.has(parameter) || VALUES.get(parameter)?.test(value) !== true) return undefined
    parameters.set(parameter, value)
  }
  return parameters
}

/** Compresses and decompresses the messages of one WebSocket (RFC 7692, section 7.2); each one at a time. */
export class PerMessageDeflate {
  readonly #terms: DeflateTerms
  readonly #maxPayload: number
  #deflater: DeflateRaw | undefined
  #inflater: InflateRaw | undefined

  /** @param maxPayload Most bytes of a decompressed message. */
  constructor(terms: DeflateTerms, maxPayload: number) {
    this.#terms = terms
    this.#maxPayload = maxPayload
  }

  async deflate(payload: Uint8Array): Promise<Buffer> {
    this.#deflater ??= zlib().createDeflateRaw({ windowBits: this.#terms.serverWindowBits })
    const stream = this.#deflater
    if (!this.#terms.serverTakeover) this.#deflater = undefined
    const bytes = await run(stream, [payload], Number.POSITIVE_INFINITY)
    if (!this.#terms.serverTakeover) stream.close()
    return bytes.subarray(0, bytes.length - TAIL.length)
  }

  /** Decompresses a message. Throws WebSocketFault 1009 as soon as it has more than `maxPayload` bytes, 1007 when it is not deflated. */
  async inflate(payload: Uint8Array): Promise<Buffer> {
    this.#inflater ??= zlib().createInflateRaw()
    const stream = this.#inflater
    try {
      const bytes = await run(stream, [payload, TAIL], this.#maxPayload)
      if (this.#terms.clientTakeover && !stream.readableEnded) return bytes
      this.#inflater = undefined
      stream.close()
      return bytes
    } catch (error) {
      this.#inflater = undefined
      stream.close()
      throw error instanceof WebSocketFault
        ? error
        : new WebSocketFault(CLOSE_CODE.invalidPayload, 'a message that is not deflated')
    }
  }

  /** Frees the memory that is kept between messages. */
  close(): void {
    this.#deflater?.close()
    this.#inflater?.close()
    this.#deflater = undefined
    this.#inflater = undefined
  }
}

/** Passes one message through a stream, which can take another one after it. */
function run(stream: DeflateRaw | InflateRaw, pieces: readonly Uint8Array[], most: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    let size = 0
    const take = (part: Buffer) => {
      size += part.length
      if (size > most) finish(new WebSocketFault(CLOSE_CODE.tooBig, `a message of more than ${most} bytes`))
      else parts.push(part)
    }
    const closed = () => finish(new Error('the stream was closed'))
    const finish = (error?: Error | null) => {
      stream.off('data', take).off('error', finish).off('close', closed).off('end', finish)
      if (!error) return resolve(Buffer.concat(parts))
      // An `error` event without a listener would end the process.
      stream.on('error', () => {})
      reject(error)
    }
    // A block that is marked as the last one ends the stream.
    stream.on('data', take).on('error', finish).on('close', closed).on('end', finish)
    for (const piece of pieces) stream.write(piece)
    stream.flush(zlib().constants.Z_SYNC_FLUSH, finish)
  })
}
