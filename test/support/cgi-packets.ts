// Requests as front servers send them, by protocols that carry CGI's variables.

/** Variables of a request, by name. */
export type CgiVariables = readonly (readonly [name: string, value: string])[]

/** What nginx sends with its usual parameters. */
export function variablesOf(method: string, uri: string, body: string | Buffer = ''): CgiVariables {
  return [
    ['CONTENT_LENGTH', String(Buffer.byteLength(body))],
    ['REQUEST_METHOD', method],
    ['REQUEST_URI', uri],
    ['SCGI', '1'],
    ['SERVER_PROTOCOL', 'HTTP/1.1'],
    ['REMOTE_ADDR', '192.0.2.7'],
    ['HTTP_HOST', 'example.test'],
  ]
}

export function scgiPacket(variables: CgiVariables): Buffer {
  const headers = Buffer.from(variables.map(([name, value]) => `${name}\0${value}\0`).join(''), 'latin1')
  return Buffer.concat([Buffer.from(`${headers.length}:`), headers, Buffer.from(',')])
}

export function uwsgiPacket(variables: CgiVariables): Buffer {
  const texts = Buffer.concat(variables.flat().map(uwsgiText))
  const header = Buffer.alloc(4)
  header.writeUInt16LE(texts.length, 1)
  return Buffer.concat([header, texts])
}

function uwsgiText(text: string): Buffer {
  const size = Buffer.alloc(2)
  size.writeUInt16LE(text.length)
  return Buffer.concat([size, Buffer.from(text, 'latin1')])
}

/** Types of FastCGI's records. */
export const RECORD = {
  begin: 1,
  abort: 2,
  end: 3,
  params: 4,
  stdin: 5,
  stdout: 6,
  data: 8,
  getValues: 9,
  values: 10,
  unknown: 11,
}

export function fastCgiRecord(type: number, id: number, content: Buffer = Buffer.alloc(0), padding = 0): Buffer {
  const header = Buffer.from([1, type, id >> 8, id & 255, content.length >> 8, content.length & 255, padding, 0])
  return Buffer.concat([header, content, Buffer.alloc(padding)])
}

export function fastCgiPairs(variables: CgiVariables): Buffer {
  return Buffer.concat(
    variables.flatMap(([name, value]) => [
      fastCgiLength(name),
      fastCgiLength(value),
      Buffer.from(name + value, 'latin1'),
    ]),
  )
}

function fastCgiLength({ length }: string): Buffer {
  if (length < 128) return Buffer.of(length)
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(length + 0x80000000)
  return bytes
}

export function fastCgiBegin(id: number, { role = 1, keep = false } = {}): Buffer {
  return fastCgiRecord(RECORD.begin, id, Buffer.from([0, role, keep ? 1 : 0, 0, 0, 0, 0, 0]))
}

export function fastCgiParams(id: number, variables: CgiVariables): Buffer {
  const pairs = fastCgiPairs(variables)
  return Buffer.concat([fastCgiRecord(RECORD.params, id, pairs, -pairs.length & 7), fastCgiRecord(RECORD.params, id)])
}

/** A body in records of 1000 bytes, with its end. */
export function fastCgiStdin(id: number, body: Buffer): Buffer {
  const records: Buffer[] = []
  for (let at = 0; at < body.length; at += 1000) {
    const piece = body.subarray(at, at + 1000)
    records.push(fastCgiRecord(RECORD.stdin, id, piece, -piece.length & 7))
  }
  return Buffer.concat([...records, fastCgiRecord(RECORD.stdin, id)])
}

/** A whole request. */
export function fastCgiRequest(id: number, variables: CgiVariables, body: Buffer, keep = false): Buffer {
  return Buffer.concat([fastCgiBegin(id, { keep }), fastCgiParams(id, variables), fastCgiStdin(id, body)])
}

/** The whole records in bytes: `[type, id, content]`. */
export function fastCgiRecords(bytes: Buffer): [type: number, id: number, content: string][] {
  const records: [number, number, string][] = []
  for (let at = 0; at + 8 <= bytes.length; ) {
    const end = at + 8 + bytes.readUInt16BE(at + 4)
    records.push([bytes.readUInt8(at + 1), bytes.readUInt16BE(at + 2), bytes.toString('latin1', at + 8, end)])
    at = end + bytes.readUInt8(at + 6)
  }
  return records
}
