import type { Reply } from './reply.ts'

/** Connections of one sender that get the same buffers. */
interface Group {
  readonly sender: string
  readonly pieces: readonly Uint8Array[]
  ids: number[]
}

/**
 * The replies of one turn. Connections that get the same buffers share a reply, as many as Mongrel2 accepts. The plain loops are for the
 * benchmark `fanout`.
 */
export class ReplyBatch {
  readonly #targets: number
  readonly #replies: Reply[] = []
  /** By their first buffer. */
  #groups: Map<Uint8Array, Group[]> | undefined
  /** The last group used, probably also that of the next connection. */
  #last: Group | undefined

  /** @param targets Connections that a reply may name. */
  constructor(targets: number) {
    this.#targets = targets
  }

  /** Adds a reply as it is. */
  push(reply: Reply): void {
    this.#replies.push(reply)
  }

  /** Adds bytes for a connection. Nothing more may be added for it: later bytes could go out before these. */
  share(sender: string, id: number, pieces: readonly Uint8Array[]): void {
    const last = this.#last
    const group = last !== undefined && isFor(last, sender, pieces) ? last : this.#groupFor(sender, pieces)
    this.#last = group
    if (group.ids.push(id) === this.#targets) this.#render(group)
  }

  /** Returns all replies. */
  finish(): Reply[] {
    for (const groups of this.#groups?.values() ?? []) for (const group of groups) this.#render(group)
    return this.#replies
  }

  #groupFor(sender: string, pieces: readonly Uint8Array[]): Group {
    const [first] = pieces as readonly [Uint8Array]
    this.#groups ??= new Map()
    const groups = this.#groups.get(first)
    const known = groups?.find((group) => isFor(group, sender, pieces))
    if (known !== undefined) return known
    const group: Group = { sender, pieces, ids: [] }
    if (groups === undefined) this.#groups.set(first, [group])
    else groups.push(group)
    return group
  }

  #render(group: Group): void {
    const { sender, pieces, ids } = group
    if (ids.length === 0) return
    group.ids = []
    this.#replies.push({ sender, connectionIds: ids, payload: pieces })
  }
}

function isFor(group: Group, sender: string, pieces: readonly Uint8Array[]): boolean {
  if (group.pieces.length !== pieces.length || group.sender !== sender) return false
  for (let at = 0; at < pieces.length; at++) if (group.pieces[at] !== pieces[at]) return false
  return true
}
