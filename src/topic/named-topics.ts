import type { SharedMessage } from '../connection/shared-message.ts'

/** The members of a topic that are here. */
export interface LocalMembers {
  deliver(message: SharedMessage): void
}

/** The way to the members that other workers have. */
export interface TopicRelay {
  /** There are members of a topic here. */
  subscribe(name: string): void
  /** There are none any more. */
  unsubscribe(name: string): void
  /** Those elsewhere are to get a message. */
  publish(name: string, message: SharedMessage): void
}

/** Topics with a name that have members here. */
const topics = new Map<string, Set<LocalMembers>>()
let relay: TopicRelay | undefined

/** Lets topics with a name span workers. */
export function connectTopics(to: TopicRelay): void {
  relay = to
  for (const name of topics.keys()) to.subscribe(name)
}

/** A topic has members now. */
export function addMembers(name: string, members: LocalMembers): void {
  const known = topics.get(name)
  if (known !== undefined) {
    known.add(members)
    return
  }
  topics.set(name, new Set([members]))
  relay?.subscribe(name)
}

/** A topic has none any more. */
export function removeMembers(name: string, members: LocalMembers): void {
  const known = topics.get(name)
  if (known?.delete(members) !== true || known.size > 0) return
  topics.delete(name)
  relay?.unsubscribe(name)
}

/** Gives a message to the members that are here. */
export function deliverHere(name: string, message: SharedMessage): void {
  for (const members of topics.get(name) ?? []) members.deliver(message)
}

/** Gives a message to all members, wherever they are. */
export function deliverEverywhere(name: string, message: SharedMessage): void {
  deliverHere(name, message)
  relay?.publish(name, message)
}
