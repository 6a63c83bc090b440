import { MalformedError } from '../malformed.ts'
import { renderCommandFrame } from './frame.ts'

/** A command (RFC 37, "Commands"). */
export interface Command {
  readonly name: string
  readonly data: Buffer
}

/** Bytes that a PING's context may have. */
const CONTEXT_LONGEST = 16
/** Bytes of a PING's time to live, which precedes the context. */
const TTL_LENGTH = 2

/** Parses a command frame's body; throws MalformedError without a name. */
export function parseCommand(body: Buffer): Command {
  const length = body[0] ?? 0
  if (length === 0 || length >= body.length) throw new MalformedError("expected a command's name")
  return { name: body.toString('latin1', 1, 1 + length), data: body.subarray(1 + length) }
}

/** Renders a command's frame. */
export function renderCommand(name: string, ...data: readonly Buffer[]): Buffer {
  return renderCommandFrame(Buffer.concat([lengthAndText(name), ...data]))
}

/** Renders READY, which ends the NULL handshake. */
export function renderReady(properties: Readonly<Record<string, string>>): Buffer {
  return renderCommand('READY', ...Object.entries(properties).flatMap(([name, value]) => property(name, value)))
}

function property(name: string, value: string): Buffer[] {
  const bytes = Buffer.from(value, 'latin1')
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return [lengthAndText(name), length, bytes]
}

/** Parses the properties in READY's data, with names in lower case; throws MalformedError for other data. */
export function parseReady(data: Buffer): Map<string, string> {
  const properties = new Map<string, string>()
  for (let at = 0; at < data.length; ) {
    const nameEnd = at + 1 + (data[at] as number)
    if (nameEnd === at + 1 || nameEnd + 4 > data.length) throw new MalformedError("expected a property's name in READY")
    const start = nameEnd + 4
    const end = start + data.readUInt32BE(nameEnd)
    if (end > data.length) throw new MalformedError("expected a property's value in READY")
    properties.set(data.toString('latin1', at + 1, nameEnd).toLowerCase(), data.toString('latin1', start, end))
    at = end
  }
  return properties
}

/** Renders a PING. The peer closes after `ttl` tenths of a second of silence, never for 0. Its PONG repeats `context`, up to 16 bytes. */
export function renderPing(ttl: number, context: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(TTL_LENGTH)
  bytes.writeUInt16BE(ttl)
  return renderCommand('PING', bytes, context)
}

/** Renders the PONG to a PING's data; throws MalformedError for other data. */
export function renderPong(ping: Buffer): Buffer {
  if (ping.length < TTL_LENGTH || ping.length > TTL_LENGTH + CONTEXT_LONGEST) {
    throw new MalformedError(`expected 2 to 18 bytes of PING, got ${ping.length}`)
  }
  return renderCommand('PONG', ping.subarray(TTL_LENGTH))
}

/** Renders ERROR, which ends a handshake; the reason may have 255 characters. */
export function renderError(reason: string): Buffer {
  return renderCommand('ERROR', lengthAndText(reason))
}

/** Reads the reason in ERROR's data, if there is one. */
export function parseError(data: Buffer): string {
  return data.toString('latin1', 1, 1 + (data[0] ?? 0))
}

function lengthAndText(text: string): Buffer {
  return Buffer.from(String.fromCharCode(text.length) + text, 'latin1')
}

/**
 * Reads a subscription in the form of ZMTP 3.0, a message (RFC 23, "The Publish-Subscribe Pattern"). Returns the command of ZMTP 3.1, whose
 * data is the beginning of the messages; undefined for another message.
 */
export function subscriptionInMessage(body: Buffer): Command | undefined {
  if (body[0] !== 0 && body[0] !== 1) return undefined
  return { name: body[0] === 1 ? 'SUBSCRIBE' : 'CANCEL', data: body.subarray(1) }
}
