import { MalformedError } from './malformed.ts'
import { parseTnetstring, renderTnetstring, type Tnetstring } from './tnetstring.ts'

/** The empty payload: Mongrel2 closes the connection once what was queued for it has been written. */
export const CLOSE: Buffer = Buffer.alloc(0)

/** A reply's bytes: in several pieces where copying them would cost more than writing each for itself. */
export type Reply = Buffer | readonly Buffer[]

/** Payloads from this size on stay in pieces, in bytes, if these have this size on the average. */
const IN_PIECES_FROM = 16 * 1024
const MEAN_PIECE = 4 * 1024

/**
 * Renders a reply: `SENDER SP netstring("ID ID ...") SP BYTES`. The bytes go to each client as they are.
 *
 * @param connectionIds From one to `limits.handler_targets`: Mongrel2 drops a longer list.
 * @param payload The bytes in pieces. Those of a large reply are not copied: they must not change any more.
 */
export function renderReply(sender: string, connectionIds: readonly number[], payload: readonly Uint8Array[]): Reply {
  let length = 0
  for (const piece of payload) length += piece.length
  const envelope = renderEnvelope(sender, targets(connectionIds))
  if (length < IN_PIECES_FROM || length < payload.length * MEAN_PIECE) return joined(envelope, payload, length)
  return [Buffer.from(envelope, 'latin1'), ...payload.map(asBuffer)]
}

/** Bytes of a reply. */
export function lengthOf(reply: Reply): number {
  return Buffer.isBuffer(reply) ? reply.length : reply.reduce((sum, { length }) => sum + length, 0)
}

/** A reply in one piece. */
export function joinReply(reply: Reply): Buffer {
  return Buffer.isBuffer(reply) ? reply : Buffer.concat(reply)
}

/** Credits with which Mongrel2 reads all that a client's socket may hold, in bytes. */
const UNREAD = 64 * 1024 * 1024

/**
 * Renders what closes a connection during a streamed body: behind what is queued, Mongrel2 shuts the socket down, and needs credits to
 * read up to its end and let go of it. The system resets the connection when the client sends more. But a client that has filled
 * Mongrel2's socket cannot send, so it waits until the system forgets the connection, about a minute: see `renderReset`.
 */
export function renderCloseDuringBody(sender: string, connectionId: number): Reply[] {
  return [renderReply(sender, [connectionId], [CLOSE]), renderControl(sender, [connectionId], { credits: UNREAD })]
}

/**
 * Renders what resets a connection during a streamed body, whatever is queued for it. Only without TLS, which has a buffer of its own,
 * and for a body of known length of which Mongrel2 has sent all that it had credits for, and of which more is missing than its buffer
 * (`limits.content_length`) holds:
 * - a `cancel` while Mongrel2 waits for the client closes the socket under that read, which then takes the first bytes of the next client
 *   whose socket gets the same number;
 * - without credits its task waits for ever, and with a buffer that holds what they ask for it sends a message for a wrong connection.
 */
export function renderReset(sender: string, connectionId: number): Reply {
  return renderControl(sender, [connectionId], { credits: UNREAD, cancel: true })
}

/** What Mongrel2 is told about a connection, instead of bytes for its client. */
export type Control =
  /** Counts as activity of the client: the connection's idle time begins anew. */
  | { readonly 'keep-alive': true }
  /** So many bytes more of an upload may be sent to us; with `cancel`, the connection is ended then, before any is. */
  | { readonly credits: number; readonly cancel?: true }
  /** The connection is ended at once; what waits for it is lost. */
  | { readonly cancel: true }

/**
 * Renders an extended reply, whose target list begins with `X` and whose payload is the tnetstring list `[ctl, {...}]`. Mongrel2 crashes on a
 * malformed one, so the forms are few and fixed. Throws RangeError when credits are no integer from 0 to 2^31 - 1.
 */
export function renderControl(sender: string, connectionIds: readonly number[], control: Control): Buffer {
  const arguments_ = renderTnetstring(['ctl', controlArguments(control)])
  return joined(renderEnvelope(sender, `X ${targets(connectionIds)}`), [arguments_], arguments_.length)
}

function controlArguments(control: Control): Map<string, Tnetstring> {
  if ('credits' in control) {
    if (!Number.isInteger(control.credits) || control.credits < 0 || control.credits > 0x7fffffff) {
      throw new RangeError(`expected credits from 0 to 2147483647, got ${control.credits}`)
    }
    const credits = new Map<string, Tnetstring>([['credits', control.credits]])
    return control.cancel ? credits.set('cancel', true) : credits
  }
  return new Map([['keep-alive' in control ? 'keep-alive' : 'cancel', true]])
}

function targets(connectionIds: readonly number[]): string {
  if (connectionIds.length === 0) throw new RangeError('expected at least one connection, got none')
  return connectionIds.join(' ')
}

function renderEnvelope(sender: string, list: string): string {
  return `${sender} ${list.length}:${list}, `
}

/** @param length Bytes of the payload. */
function joined(envelope: string, payload: readonly Uint8Array[], length: number): Buffer {
  const reply = Buffer.allocUnsafe(envelope.length + length)
  let at = reply.write(envelope, 0, 'latin1')
  for (const piece of payload) {
    reply.set(piece, at)
    at += piece.length
  }
  return reply
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** What a handler publishes, as Mongrel2 reads it. */
export interface ParsedReply {
  readonly sender: string
  readonly connectionIds: readonly number[]
  /** Bytes for the clients, none to close their connections; or what an extended reply tells Mongrel2 of them. */
  readonly content: { readonly payload: Buffer } | { readonly control: Control }
}

const ENVELOPE = /^([A-Za-z0-9-]+) (\d+):/
const TARGETS = /^(X )?(\d+(?: \d+)*) ?$/
/** Bytes of SENDER, a space and the length of the list. */
const ENVELOPE_LONGEST = 512

/**
 * Parses a reply, plain or extended; throws MalformedError when the bytes are none.
 *
 * @param targetsMost Connections that it may name: `limits.handler_targets`.
 */
export function parseReply(bytes: Buffer, targetsMost: number): ParsedReply {
  const envelope = ENVELOPE.exec(bytes.toString('latin1', 0, ENVELOPE_LONGEST))
  if (envelope === null) throw new MalformedError('expected SENDER, a space and the length of the target list')
  const start = envelope[0].length
  const end = start + Number(envelope[2])
  if (bytes.toString('latin1', end, end + 2) !== ', ') throw new MalformedError('the target list is no netstring')
  const targets = TARGETS.exec(bytes.toString('latin1', start, end))
  if (targets === null) throw new MalformedError("expected the connections' numbers")
  const connectionIds = (targets[2] ?? '').split(' ').map(Number)
  if (connectionIds.length > targetsMost) {
    throw new MalformedError(`expected at most ${targetsMost} connections, got ${connectionIds.length}`)
  }
  const payload = bytes.subarray(end + 2)
  const sender = envelope[1] ?? ''
  return { sender, connectionIds, content: targets[1] === undefined ? { payload } : { control: controlIn(payload) } }
}

/** Mongrel2 takes any value for `keep-alive` and `cancel`; it crashes on what is refused here. */
function controlIn(payload: Buffer): Control {
  const value = parseTnetstring(payload)
  const [key, args] = Array.isArray(value) ? value : []
  if (key !== 'ctl' || !(args instanceof Map)) throw new MalformedError('expected the list [ctl, {...}]')
  const credits = args.get('credits')
  const cancel = args.has('cancel')
  if (typeof credits === 'number' && Number.isInteger(credits)) return cancel ? { credits, cancel } : { credits }
  if (cancel) return { cancel }
  if (args.has('keep-alive')) return { 'keep-alive': true }
  throw new MalformedError('expected keep-alive, credits or cancel')
}
