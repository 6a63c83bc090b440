import { type ServerWebSocket, Topic } from 'mongrel2-fetch'

/** How many messages are kept for those who come later, or come back. */
const HISTORY = 100

/** What a page says: an id that it has made up, and a text. */
export interface Saying {
  readonly id: string
  readonly text: string
}

/** One who is in a room. */
export interface Member {
  /** Known to the page only: with it a page that comes back takes the place that it had. */
  readonly client: string
  readonly name: string
  readonly socket: ServerWebSocket
}

interface Message extends Saying {
  readonly name: string
  /** In milliseconds since 1970. */
  readonly time: number
}

/** A room: who is there, and what was said. */
export class Room {
  /** Whose messages pile up is closed by it, which does no harm: the page comes back and gets what it missed. */
  readonly #topic = new Topic()
  readonly #members = new Map<string, Member>()
  readonly #messages: Message[] = []

  /** The names of those who are there. */
  get people(): string[] {
    return Array.from(this.#members.values(), ({ name }) => name).sort()
  }

  /**
   * Lets somebody in and tells him what was said.
   *
   * @param since The id of the last message that he has got, if any: he is told only what came after it, as long as that is known.
   */
  join(member: Member, since: string | undefined): void {
    const before = this.#members.get(member.client)
    if (before !== undefined) {
      this.leave(before)
      before.socket.close(1000, 'came back')
    }
    this.#members.set(member.client, member)
    this.#tellWhoIsThere()
    const at = this.#messages.findIndex(({ id }) => id === since)
    const messages = this.#messages.slice(at + 1)
    // In one turn: nothing is said between what he is told now and what he gets from now on.
    member.socket.send(JSON.stringify({ type: 'welcome', continued: at !== -1, messages, people: this.people }))
    this.#topic.add(member.socket)
  }

  leave(member: Member): void {
    if (this.#members.get(member.client) !== member) return
    this.#members.delete(member.client)
    this.#topic.delete(member.socket)
    this.#tellWhoIsThere()
  }

  /** Tells all of them what somebody says, once: a page says it again when it did not hear it before its connection broke. */
  say({ name }: Member, { id, text }: Saying): void {
    if (this.#messages.some((message) => message.id === id)) return
    const message = { id, name, text, time: Date.now() }
    this.#messages.push(message)
    if (this.#messages.length > HISTORY) this.#messages.shift()
    this.#topic.send(JSON.stringify({ type: 'message', ...message }))
  }

  #tellWhoIsThere(): void {
    this.#topic.send(JSON.stringify({ type: 'people', people: this.people }))
  }
}
