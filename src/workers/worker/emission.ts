import { CLOSE, joinReply, parseReply, type Reply, renderReply } from '../../wire/reply.ts'

/**
 * What closes the connections that replies were for, once each: while nobody pulls from Mongrel2, one reply to a connection that is gone
 * holds up all that follow.
 *
 * @param closed The connections that have been closed so, as `EPOCH ID`; those that are now are added.
 */
export function closesOf({ epoch, replies }: Publication, closed: Set<string>): Reply[] {
  return replies.flatMap((reply) => {
    // They are ours, and name as many as the options say.
    const { sender, connectionIds, content } = parseReply(joinReply(reply), Number.POSITIVE_INFINITY)
    if ('control' in content) return []
    const open = connectionIds.filter((id) => !closed.has(`${epoch} ${id}`))
    for (const id of open) closed.add(`${epoch} ${id}`)
    return open.length > 0 ? [renderReply(sender, open, [CLOSE])] : []
  })
}

/** What a slot publishes, and reports of it. */
export interface Emission {
  /** The report that has to be with the dispatcher before. */
  readonly before: Buffer | undefined
  readonly publication: Publication | undefined
  /** The report that may go when the system has taken the bytes, so that they are not lost with this process. */
  readonly after: Buffer | undefined
}

/** Replies of one turn to one life of a Mongrel2. */
export interface Publication {
  readonly epoch: number
  readonly replies: readonly Reply[]
}
