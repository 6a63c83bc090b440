/** A reply as Mongrel2 would read it. */
export interface ParsedReply {
  readonly sender: string
  readonly targets: string
  readonly payload: Buffer
}

/** Parses `SENDER SP netstring("ID ID ...") SP BYTES`, as strictly as Mongrel2 does. */
export function parseReply(reply: Buffer): ParsedReply {
  const envelope = /^([A-Za-z0-9-]+) (\d+):/.exec(reply.toString('latin1'))
  if (envelope === null) throw new Error(`no reply: ${reply.toString('latin1', 0, 80)}`)
  const start = envelope[0].length
  const end = start + Number(envelope[2])
  if (reply.toString('latin1', end, end + 2) !== ', ') throw new Error('the target list is no netstring')
  return {
    sender: String(envelope[1]),
    targets: reply.toString('latin1', start, end),
    payload: reply.subarray(end + 2),
  }
}

/** A response as a client reads it. */
export interface ParsedResponse {
  readonly statusLine: string
  /** Names in lower case, a value for each field. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly rest: string
}

/** Parses the head of a response; what stands behind it, chunk framing included, is the rest. */
export function parseResponse(bytes: string): ParsedResponse {
  const end = bytes.indexOf('\r\n\r\n')
  if (end === -1) throw new Error(`no response: ${JSON.stringify(bytes.slice(0, 200))}`)
  const [statusLine = '', ...lines] = bytes.slice(0, end).split('\r\n')
  const fields = lines.map((line): [string, string] => {
    const colon = line.indexOf(': ')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)]
  })
  return { statusLine, fields, rest: bytes.slice(end + 4) }
}

/** The values of a field, in their order. */
export function valuesOf(response: ParsedResponse, name: string): string[] {
  return response.fields.filter((field) => field[0] === name).map((field) => field[1])
}
