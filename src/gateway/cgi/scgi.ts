import { MalformedError, malformed } from '../../wire/malformed.ts'
import { type Packet, PacketCodec } from './packet-codec.ts'

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
    const variables = bytes.toString('latin1', prefix.length, end).split('\0')
    if (variables.pop() !== '' || variables.length % 2 !== 0) throw new MalformedError('a header has no value')
    if (variables[0] !== 'CONTENT_LENGTH') throw malformed('CONTENT_LENGTH first', variables[0] ?? '')
    const version = variables.findIndex((name, at) => at % 2 === 0 && name === 'SCGI')
    if (version === -1 || variables[version + 1] !== '1') throw new MalformedError('expected the header SCGI with 1')
    return { variables, size: end + 1 }
  }
}
