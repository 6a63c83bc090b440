import { CLOSE, joinReply, parseReply, type Reply, renderReply } from '../../wire/reply.ts'

/** Replies of one turn to one epoch. */
export interface Publication {
  readonly epoch: number
  readonly replies: readonly Reply[]
}

/** What a handler thread publishes, and the frames that it reports of it. */
export interface ReportedPublication {
  /** The frame that the dispatcher has to have before. */
  readonly before: Buffer | undefined
  readonly publication: Publication | undefined
  /** The frame that goes when the system has taken the replies, so that they are not lost with this process. */
  readonly after: Buffer | undefined
}

/**
 * Renders replies that close connections in place of replies with content, once for each connection: while nobody pulls from Mongrel2, one
 * reply to a connection that is gone holds up all that follow.
 *
 * @param closed The connections that have been closed so, as `EPOCH ID`; those that are now are added.
 */
export function closeInstead({ epoch, replies }: Publication, closed: Set<string>): Reply[] {
  return replies.flatMap((reply) => {
    // They are ours, and name as many as the options say.
    const { sender, connectionIds, content } = parseReply(joinReply(reply), Number.POSITIVE_INFINITY)
    if ('control' in content) return []
    const open = connectionIds.filter((id) => !closed.has(`${epoch} ${id}`))
    for (const id of open) closed.add(`${epoch} ${id}`)
    return open.length > 0 ? [renderReply(sender, open, [CLOSE])] : []
  })
}
