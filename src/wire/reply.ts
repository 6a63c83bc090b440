import { HANDLER_TARGETS } from './limits.ts'
import { renderTnetstring, type Tnetstring } from './tnetstring.ts'

/** The empty payload: Mongrel2 closes the connection once what was queued for it has been written. */
export const CLOSE: Buffer = Buffer.alloc(0)

/**
 * Renders a reply: `SENDER SP netstring("ID ID ...") SP BYTES`. The bytes go to each client as they are.
 *
 * @param sender The message's SENDER.
 * @param connectionIds From 1 to 128 connections.
 * @param payload The bytes in pieces, joined here so that they are copied once.
 */
export function renderReply(sender: string, connectionIds: readonly number[], payload: readonly Uint8Array[]): Buffer {
  return framed(sender, targets(connectionIds), payload)
}

/** What Mongrel2 is told about a connection, instead of bytes for its client. */
export type Control =
  /** Counts as activity of the client: the connection's idle time begins anew. */
  | { readonly 'keep-alive': true }
  /** So many bytes more of an upload may be sent to us. */
  | { readonly credits: number }
  /** The connection is ended at once; what waits for it is lost. */
  | { readonly cancel: true }

/**
 * Renders an extended reply, whose target list begins with `X` and whose payload is the tnetstring list `[ctl, {...}]`.
 * Mongrel2 ends with a crash on a malformed one, so the forms are few and fixed.
 *
 * @throws RangeError when credits are no integer from 0 to 2^31 - 1.
 */
export function renderControl(sender: string, connectionIds: readonly number[], control: Control): Buffer {
  return framed(sender, `X ${targets(connectionIds)}`, [renderTnetstring(['ctl', controlArguments(control)])])
}

function controlArguments(control: Control): Map<string, Tnetstring> {
  if ('credits' in control) {
    if (!Number.isInteger(control.credits) || control.credits < 0 || control.credits > 0x7fffffff) {
      throw new RangeError(`expected credits from 0 to 2147483647, got ${control.credits}`)
    }
    return new Map([['credits', control.credits]])
  }
  return new Map([['keep-alive' in control ? 'keep-alive' : 'cancel', true]])
}

function targets(connectionIds: readonly number[]): string {
  if (connectionIds.length === 0 || connectionIds.length > HANDLER_TARGETS) {
    throw new RangeError(`expected 1 to ${HANDLER_TARGETS} connections, got ${connectionIds.length}`)
  }
  return connectionIds.join(' ')
}

function framed(sender: string, list: string, payload: readonly Uint8Array[]): Buffer {
  const envelope = `${sender} ${list.length}:${list}, `
  let length = envelope.length
  for (const piece of payload) length += piece.length
  const reply = Buffer.allocUnsafe(length)
  let at = reply.write(envelope, 0, 'latin1')
  for (const piece of payload) {
    reply.set(piece, at)
    at += piece.length
  }
  return reply
}
