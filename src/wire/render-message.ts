import { renderTnetstring, type Tnetstring } from './tnetstring.ts'

/** How a Handler wants its headers: the values of its `protocol`. */
export type HeaderProtocol = 'json' | 'tnetstring'

/** A message's headers; a name that came more than once has a list. Values are bytes as Latin-1. */
export type MessageFields = ReadonlyMap<string, string | readonly string[]>

/** Renders a message as Mongrel2 1.12 does: `SENDER SP CONN_ID SP PATH SP netstring(HEADERS) netstring(BODY)`. */
export function renderMessage(
  sender: string,
  connectionId: number,
  path: string,
  fields: MessageFields,
  body: Uint8Array,
  protocol: HeaderProtocol,
): Buffer {
  const headers = protocol === 'json' ? netstring(renderJson(fields)) : renderDictionary(fields)
  const envelope = `${sender} ${connectionId} ${path} ${headers}${body.length}:`
  const message = Buffer.allocUnsafe(envelope.length + body.length + 1)
  message.write(envelope, 0, 'latin1')
  message.set(body, envelope.length)
  message[message.length - 1] = 0x2c // ,
  return message
}

function netstring(payload: string): string {
  return `${payload.length}:${payload},`
}

function renderDictionary(fields: MessageFields): string {
  const entries = [...fields].map(([name, value]): [string, Tnetstring] => [
    name,
    typeof value === 'string' ? value : [...value],
  ])
  return renderTnetstring(new Map(entries)).toString('latin1')
}

function renderJson(fields: MessageFields): string {
  const pairs = [...fields].map(([name, value]) => {
    const rendered = typeof value === 'string' ? jsonString(value) : `[${value.map(jsonString).join(',')}]`
    return `${jsonString(name)}:${rendered}`
  })
  return `{${pairs.join(',')}}`
}

/** Mongrel2 escapes nothing else, so that this is not JSON where a value has a tab. */
function jsonString(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}
