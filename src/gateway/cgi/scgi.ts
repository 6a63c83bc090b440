import { MalformedError, malformed } from '../../wire/malformed.ts'
import { type Packet, PacketCodec } from './packet-codec.ts'
import { Variables } from './variables.ts'

/** The beginning of a netstring: its length and a colon. */
const LENGTH = /^([1-9]\d{0,8}):/
const INCOMPLETE_LENGTH = /^(?:[1-9]\d{0,8})?$/
const COMMA = ','.charCodeAt(0)

/** SCGI (https://python.ca/scgi/protocol.txt): a netstring of names and values that each end with a NUL. */
export class ScgiCodec extends PacketCodec {
  readonly beforeStatus = 'Status:'

  protected parse(bytes: Buffer): Packet | undefined {
    const beginning = bytes.toString('latin1', 0, 10)
    const [prefix, digits] = LENGTH.exec(beginning) ?? []
    if (prefix === undefined) {
      if (INCOMPLETE_LENGTH.test(beginning)) return undefined
      throw malformed("a netstring's length", beginning)
    }
    const length = Number(digits)
    if (length > this.most) throw new MalformedError(`expected at most ${this.most} bytes of headers, got ${length}`)
    const end = prefix.length + length
    if (bytes.length <= end) return undefined
    if (bytes[end] !== COMMA) throw malformed("a netstring's comma", bytes.toString('latin1', end, end + 1))
    const text = bytes.toString('latin1', prefix.length, end)
    const variables = new Variables()
    let version: string | undefined
    for (let at = 0; at < text.length; ) {
      const nameEnd = text.indexOf('\0', at)
      const valueEnd = text.indexOf('\0', nameEnd + 1)
      if (nameEnd === -1 || valueEnd === -1) throw new MalformedError('a header has no value')
      const name = text.slice(at, nameEnd)
      if (at === 0 && name !== 'CONTENT_LENGTH') throw malformed('CONTENT_LENGTH first', name)
      if (name === 'SCGI') version ??= text.slice(nameEnd + 1, valueEnd)
      variables.add(text, at, nameEnd, nameEnd + 1, valueEnd)
      at = valueEnd + 1
    }
    if (version !== '1') throw new MalformedError('expected the header SCGI with 1')
    return { variables, size: end + 1 }
  }
}
