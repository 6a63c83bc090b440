import { invalid } from '../../option-check.ts'
import type { MessageInfo } from '../handler.ts'
import { ServerWebSocket, sessionOf } from '../websocket/socket.ts'
import { sessionOpenedFor } from '../websocket/upgrade.ts'
import { type BudgetOptions, checkBudgetOptions, checkData } from './options.ts'
import { createSharedMessage, type TopicData } from './shared-message.ts'
import type { Subscriber } from './subscriber.ts'

/** A WebSocket, or what Mongrel2 said of its handshake (`env.mongrel2`). */
export type BroadcastTarget = ServerWebSocket | MessageInfo

/**
 * Sends a message to each of some clients, as `Topic.send` does. Those that are not open are left out.
 *
 * @throws Mongrel2Error `invalid_option` for data that is neither text nor bytes, a target that is none, or a wrong option.
 */
export function broadcast(targets: Iterable<BroadcastTarget>, data: TopicData, options: BudgetOptions = {}): void {
  const budget = checkBudgetOptions(options)
  const message = createSharedMessage(checkData(data), {})
  const now = performance.now()
  for (const subscriber of [...targets].map(subscriberOf)) subscriber?.deliver(message, budget, now)
}

function subscriberOf(target: BroadcastTarget): Subscriber | undefined {
  if (target instanceof ServerWebSocket) return sessionOf(target)
  if (typeof target === 'object' && target !== null) return sessionOpenedFor(target)
  throw invalid('connections', 'WebSockets, or the env.mongrel2 of their handshakes', target)
}
