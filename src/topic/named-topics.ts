import type { SharedMessage } from '../connection/shared-message.ts'

/** Delivers a message to the members of a topic in this worker. */
type Deliver = (message: SharedMessage) => void

/** The way to members in other workers. */
interface TopicRelay {
  /** A topic has members here. */
  subscribe(name: string): void
  /** A topic has no members here any more. */
  unsubscribe(name: string): void
  /** Sends a message to the members in other workers. */
  publish(name: string, message: SharedMessage): void
}

/** Topics with a name that have members here. */
const topics = new Map<string, Set<Deliver>>()
let relay: TopicRelay | undefined

/** Connects topics with a name to those of other workers. */
export function connectTopics(to: TopicRelay): void {
  relay = to
  for (const name of topics.keys()) to.subscribe(name)
}

/** Call when a topic gets its first member. */
export function addMembers(name: string, deliver: Deliver): void {
  const known = topics.get(name)
  if (known !== undefined) known.add(deliver)
  else {
    topics.set(name, new Set([deliver]))
    relay?.subscribe(name)
  }
}

/** Call when a topic has lost its last member. */
export function removeMembers(name: string, deliver: Deliver): void {
  const known = topics.get(name)
  if (known?.delete(deliver) !== true || known.size > 0) return
  topics.delete(name)
  relay?.unsubscribe(name)
}

/** Delivers a message to the members in this worker. */
export function deliverHere(name: string, message: SharedMessage): void {
  for (const deliver of topics.get(name) ?? []) deliver(message)
}

/** Delivers a message to all members. */
export function deliverEverywhere(name: string, message: SharedMessage): void {
  deliverHere(name, message)
  relay?.publish(name, message)
}
