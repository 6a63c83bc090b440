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
