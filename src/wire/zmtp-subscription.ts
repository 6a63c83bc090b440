import type { Command } from './zmtp-command.ts'

/** What a subscriber wants to get from now on, or no longer. */
export interface Subscription {
  readonly kind: 'subscribe' | 'cancel'
  /** The bytes that messages have to begin with. */
  readonly prefix: Buffer
}

/** Reads a subscription in the form of ZMTP 3.1, a command; undefined when it is another command. */
export function subscriptionInCommand({ name, data }: Command): Subscription | undefined {
  if (name === 'SUBSCRIBE') return { kind: 'subscribe', prefix: data }
  return name === 'CANCEL' ? { kind: 'cancel', prefix: data } : undefined
}

/** Reads a subscription in the form of ZMTP 3.0, a message (RFC 23, "The Publish-Subscribe Pattern"); undefined when it is another message. */
export function subscriptionInMessage(body: Buffer): Subscription | undefined {
  if (body[0] !== 0 && body[0] !== 1) return undefined
  return { kind: body[0] === 1 ? 'subscribe' : 'cancel', prefix: body.subarray(1) }
}
