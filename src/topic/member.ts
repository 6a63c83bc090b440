import type { Subscriber } from '../connection/shared-message.ts'
import { MessageSocket } from '../message-socket/socket.ts'
import type { MessageConnection } from '../message-socket/types.ts'
import { invalid } from '../runtime/errors.ts'
import { ServerWebSocket, sessionOf } from '../websocket/socket.ts'

/** Whom a topic sends messages to as they are: a WebSocket or a message socket. */
export type TopicMember = ServerWebSocket | MessageConnection

/** The subscriber behind a member; undefined for what is none. */
export function subscriberOf(member: unknown): Subscriber | undefined {
  if (member instanceof ServerWebSocket) return sessionOf(member)
  return member instanceof MessageSocket ? member : undefined
}

/**
 * The subscriber behind a member.
 *
 * @throws Mongrel2Error `invalid_option` for what is none.
 */
export function checkMember(member: TopicMember): Subscriber {
  const subscriber = subscriberOf(member)
  if (subscriber === undefined) throw invalid('member', 'a WebSocket or a message socket of this package', member)
  return subscriber
}
