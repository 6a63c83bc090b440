import { isUtf8 } from 'node:buffer'
import { bytesOf } from '../wire/bytes.ts'
import type { HeaderField } from '../wire/headers.ts'
import { MalformedError } from '../wire/malformed.ts'
import type { Message } from '../wire/message.ts'
import { pairs, ResponseParser } from '../wire/response-parser.ts'
import type { RequestEntry } from './request-entry.ts'

/** A line of the file of `record`: a request as Mongrel2 sent it, and its response. */
export interface RecordedRequest {
  /** When its message came, as ISO 8601. */
  readonly time: string
  /** Time to the end of the response, in milliseconds. */
  readonly duration: number
  readonly aborted: boolean
  readonly path: string
  /** Names and values; those of Mongrel2 have names in upper case. Values are bytes as Latin-1. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Names of headers that are left out. */
  readonly omitted?: readonly string[]
  readonly body: RecordedBody
  /** Missing if none began. */
  readonly response?: RecordedResponse
}

export type RecordedResponse = Pick<RecordedRequest, 'headers' | 'omitted' | 'body'> & { readonly status: number }

/** Text, or bytes that are none. */
export interface RecordedBody {
  readonly text?: string
  readonly base64?: string
  /** Bytes follow that are not recorded. */
  readonly cut?: true
}

export interface RecorderSettings {
  readonly recordEvery: number
  readonly recordOmit: readonly string[]
}

/** Bytes of a body that are recorded. */
const MOST_BYTES = 16 * 1024
/** Headers that are never recorded, beside those of `recordOmit`. */
const SECRETS = ['authorization', 'proxy-authorization', 'cookie', 'set-cookie']

/** Chooses the requests to record: those that fail, and every so many. */
export class Recorder {
  readonly #every: number
  readonly #omitted: ReadonlySet<string>
  #count = 0

  constructor({ recordEvery, recordOmit }: RecorderSettings) {
    this.#every = recordEvery
    this.#omitted = new Set([...SECRETS, ...recordOmit.map((name) => name.toLowerCase())])
  }

  /** Begins to record a request, which may fail yet. */
  begin(message: Message): Recording {
    const chosen = this.#every > 0 && ++this.#count % this.#every === 0
    return new Recording(message, chosen, this.#omitted)
  }
}

/** A request that is being recorded. */
class Recording {
  readonly #message: Message
  readonly #chosen: boolean
  readonly #omitted: ReadonlySet<string>
  readonly #parser: ResponseParser
  #headers: HeaderField[] | undefined
  readonly #body: Buffer[] = []
  #size = 0
  #cut = false

  constructor(message: Message, chosen: boolean, omitted: ReadonlySet<string>) {
    this.#message = message
    this.#chosen = chosen
    this.#omitted = omitted
    this.#parser = new ResponseParser(message.headers.own('METHOD') === 'HEAD')
  }

  /** Takes bytes of the response, and copies what is recorded of them. */
  keep(bytes: Uint8Array): void {
    if (this.#cut) return
    try {
      const { head, body } = this.#parser.push(bytesOf(bytes))
      if (head !== undefined) this.#headers = pairs(head.fields)
      for (const piece of body) {
        const part = piece.subarray(0, MOST_BYTES - this.#size)
        this.#body.push(Buffer.from(part))
        this.#size += part.length
        if (part.length < piece.length) this.#cut = true
      }
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
      this.#cut = true
    }
  }

  /** The line of a request that has ended, in ASCII; undefined if it is not recorded. */
  line(entry: RequestEntry): string | undefined {
    const { time, duration, aborted, status, received } = entry
    if (!this.#chosen && !aborted && (status ?? 0) < 500) return undefined
    const { headers, path, body, kind } = this.#message
    const fields = Object.entries(headers.ownEntries())
    headers.forEach((name, value) => {
      fields.push([name, value])
    })
    // The body of an upload comes in other messages, or in a file.
    const uploaded = kind === 'streamed' || headers.first('x-mongrel2-upload-start') !== undefined
    const isWhole = kind === 'handshake' || (!uploaded && received === body.length)
    const recorded: RecordedRequest = {
      time: new Date(time).toISOString(),
      duration: Math.round(duration * 1000) / 1000,
      aborted,
      path,
      ...this.#withoutSecrets(fields),
      body: bodyOf(body.subarray(0, MOST_BYTES), !isWhole || body.length > MOST_BYTES),
      ...(status !== undefined &&
        this.#headers !== undefined && {
          response: {
            status,
            ...this.#withoutSecrets(this.#headers),
            body: bodyOf(Buffer.concat(this.#body), this.#cut || aborted),
          },
        }),
    }
    return JSON.stringify(recorded).replace(/[\x7f-\uffff]/g, escaped)
  }

  #withoutSecrets(fields: readonly HeaderField[]): Pick<RecordedRequest, 'headers' | 'omitted'> {
    const isSecret = ([name]: HeaderField) => this.#omitted.has(name.toLowerCase())
    const omitted = [...new Set(fields.filter(isSecret).map(([name]) => name.toLowerCase()))]
    return { headers: fields.filter((field) => !isSecret(field)), ...(omitted.length > 0 && { omitted }) }
  }
}

function bodyOf(bytes: Buffer, cut: boolean): RecordedBody {
  const content = isUtf8(bytes) ? { text: bytes.toString() } : { base64: bytes.toString('base64') }
  return cut ? { ...content, cut } : content
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
