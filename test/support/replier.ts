import { createReplier as create, type LinkOption, type Replier, type ReplierOptions } from '../../src/index.ts'

export type { Replier }

const { LINK } = process.env

/** `createReplier`, on the link that this test run is for. */
export function createReplier(options: ReplierOptions): Replier {
  return create(LINK === undefined ? options : { link: LINK as LinkOption, ...options })
}
