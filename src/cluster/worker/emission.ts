import type { Reply } from '../../wire/reply.ts'

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
