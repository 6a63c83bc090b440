import { MalformedError } from './malformed.ts'
import type { Control } from './reply.ts'
import { parseTnetstring } from './tnetstring.ts'

/** What a handler publishes, as Mongrel2 reads it. */
export interface ParsedReply {
  readonly sender: string
  readonly connectionIds: readonly number[]
  /** Bytes for the clients, none to close their connections; or what an extended reply tells Mongrel2 of them. */
  readonly content: { readonly payload: Buffer } | { readonly control: Control }
}

const ENVELOPE = /^([A-Za-z0-9-]+) (\d+):/
const TARGETS = /^(X )?(\d+(?: \d+)*) ?$/
/** An envelope's beginning: SENDER, a blank and the length of the list. */
const ENVELOPE_LONGEST = 512

/**
 * Parses `SENDER SP netstring("ID ID ...") SP BYTES`, and the extended form of which the list begins with `X `.
 *
 * @param targetsMost How many connections it may name: `limits.handler_targets`.
 * @throws MalformedError when the bytes are none.
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
