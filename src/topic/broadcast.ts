import type { MessageSender } from '../connection/message-sender.ts'
import { createSharedMessage, type TopicData } from '../connection/shared-message.ts'
import { MessageSocket } from '../message-socket/socket.ts'
import type { MessageConnection } from '../message-socket/types.ts'
import type { MessageInfo } from '../platform/handler.ts'
import { invalid } from '../runtime/errors.ts'
import { sessionOpenedFor } from '../websocket/handshake.ts'
import { ServerWebSocket, sessionOf } from '../websocket/socket.ts'
import { type BudgetOptions, checkBudgetOptions, checkData } from './options.ts'

/** A socket that a topic sends messages to as they are: a WebSocket or a message socket. */
export type TopicMember = ServerWebSocket | MessageConnection

/** A WebSocket, the `env.mongrel2` of its handshake, or a message socket. */
export type BroadcastTarget = TopicMember | MessageInfo

/**
 * Sends a message to clients, as `Topic.send` does. Sockets that are not open are left out.
 *
 * @throws Mongrel2Error `invalid_option` for data that is neither text nor bytes, an invalid target, or a wrong option.
 */
export function broadcast(targets: Iterable<BroadcastTarget>, data: TopicData, options: BudgetOptions = {}): void {
  const budget = checkBudgetOptions(options)
  const message = createSharedMessage(checkData(data), {})
  const now = performance.now()
  for (const sender of [...targets].map(targetOf)) sender?.deliver(message, budget, now)
}

/** The sending side of a socket; undefined for anything else. */
export function senderOf(socket: unknown): MessageSender | undefined {
  if (socket instanceof ServerWebSocket) return sessionOf(socket)
  return socket instanceof MessageSocket ? socket : undefined
}

function targetOf(target: BroadcastTarget): MessageSender | undefined {
  const sender = senderOf(target)
  if (sender !== undefined) return sender
  if (typeof target === 'object' && target !== null && 'headers' in target) return sessionOpenedFor(target)
  throw invalid('connections', 'sockets, or the env.mongrel2 of handshakes', target)
}
