import { type Reply, renderReply } from './reply.ts'

/** Connections of one sender that get the very same bytes. */
interface Group {
  readonly sender: string
  readonly pieces: readonly Uint8Array[]
  ids: number[]
}

/**
 * The replies of one turn. Connections that get the very same buffers are named in one reply, as many as Mongrel2 takes in one. Plain code,
 * since `fanout` of the benchmarks pays for it.
 */
export class ReplyBatch {
  readonly #targets: number
  readonly #replies: Reply[] = []
  /** By the first of their bytes. */
  #groups: Map<Uint8Array, Group[]> | undefined
  /** The group that was added to last, most likely that of the next connection. */
  #last: Group | undefined

  /** @param targets Connections that a reply may name. */
  constructor(targets: number) {
    this.#targets = targets
  }

  /** Adds a reply as it is. */
  push(reply: Reply): void {
    this.#replies.push(reply)
  }

  /** Adds bytes for a connection, to which nothing more may be added: these bytes may go out after what is added later. */
  share(sender: string, id: number, pieces: readonly Uint8Array[]): void {
    const last = this.#last
    const group = last !== undefined && isFor(last, sender, pieces) ? last : this.#groupFor(sender, pieces)
    this.#last = group
    if (group.ids.push(id) === this.#targets) this.#render(group)
  }

  /** All that were added. */
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
    this.#replies.push(renderReply(sender, ids, pieces))
  }
}

function isFor(group: Group, sender: string, pieces: readonly Uint8Array[]): boolean {
  if (group.pieces.length !== pieces.length || group.sender !== sender) return false
  for (let at = 0; at < pieces.length; at++) if (group.pieces[at] !== pieces[at]) return false
  return true
}
