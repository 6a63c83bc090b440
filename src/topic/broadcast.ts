import { createSharedMessage, type Subscriber, type TopicData } from '../connection/shared-message.ts'
import type { MessageInfo } from '../platform/handler.ts'
import { invalid } from '../runtime/errors.ts'
import { sessionOpenedFor } from '../websocket/upgrade.ts'
import { subscriberOf, type TopicMember } from './member.ts'
import { type BudgetOptions, checkBudgetOptions, checkData } from './options.ts'

/** A WebSocket, what Mongrel2 said of its handshake (`env.mongrel2`), or a message socket. */
export type BroadcastTarget = TopicMember | MessageInfo

/**
 * Sends a message to each of some clients, as `Topic.send` does. Those that are not open are left out.
 *
 * @throws Mongrel2Error `invalid_option` for data that is neither text nor bytes, a target that is none, or a wrong option.
 */
export function broadcast(targets: Iterable<BroadcastTarget>, data: TopicData, options: BudgetOptions = {}): void {
  const budget = checkBudgetOptions(options)
  const message = createSharedMessage(checkData(data), {})
  const now = performance.now()
  for (const subscriber of [...targets].map(targetOf)) subscriber?.deliver(message, budget, now)
}

function targetOf(target: BroadcastTarget): Subscriber | undefined {
  const subscriber = subscriberOf(target)
  if (subscriber !== undefined) return subscriber
  if (typeof target === 'object' && target !== null && 'headers' in target) return sessionOpenedFor(target)
  throw invalid('connections', 'sockets, or the env.mongrel2 of handshakes', target)
}
