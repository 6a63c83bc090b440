import { MalformedError } from '../../wire/malformed.ts'
import { type Packet, PacketCodec } from './packet-codec.ts'
import { Variables } from './variables.ts'

const HEADER = 4
/** Bytes of the size before a name or a value. */
const SIZE = 2
/** `modifier1` of a request. Other values ask uWSGI for other languages, or are no requests. */
const REQUEST = 0

/**
 * The uwsgi protocol (https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html): a header of `modifier1`, the size in 16 bits and `modifier2`,
 * then names and values, each after its size in 16 bits. Numbers are little-endian. The answer is plain HTTP.
 */
export class UwsgiCodec extends PacketCodec {
  readonly beforeStatus = 'HTTP/1.1'

  protected parse(bytes: Buffer): Packet | undefined {
    if (bytes[0] !== REQUEST && bytes[0] !== undefined) {
      throw new MalformedError(`expected modifier1 ${REQUEST}, got ${bytes[0]}`)
    }
    if (bytes.length < HEADER) return undefined
    const length = bytes.readUInt16LE(1)
    if (length > this.most) throw new MalformedError(`expected at most ${this.most} bytes of variables, got ${length}`)
    const size = HEADER + length
    if (bytes.length < size) return undefined
    const text = bytes.toString('latin1', 0, size)
    const variables = new Variables()
    for (let at = HEADER; at < size; ) {
      const nameEnd = endAt(bytes, at, size)
      if (nameEnd === size) throw new MalformedError('a variable has no value')
      const valueEnd = endAt(bytes, nameEnd, size)
      variables.add(text, at + SIZE, nameEnd, nameEnd + SIZE, valueEnd)
      at = valueEnd
    }
    return { variables, size }
  }
}

/** The end of the text whose size is at a place. */
function endAt(bytes: Buffer, at: number, most: number): number {
  const start = at + SIZE
  const end = start > most ? start : start + bytes.readUInt16LE(at)
  if (end > most) throw new MalformedError('a variable is longer than its packet')
  return end
}
