import { type Check, NO_DATABASE } from './check.ts'

/** Mistakes with the names in messages and replies. */
export const IDENTITY_CHECKS: readonly Check[] = [
  {
    title: 'recv_ident is empty',
    find({ handler, recv }) {
      const prefix = handler?.recvIdent ?? recv.subscription
      if (prefix === undefined) return { unknown: 'Mongrel2 has not subscribed to replies' }
      if (prefix === '') return undefined
      return {
        found: `recv_ident is ${JSON.stringify(prefix)}: only replies that begin with it arrive`,
        advice: "Set recv_ident='' and load the configuration again.",
      }
    },
  },
  {
    title: "send_ident has no '_', '.' or space",
    find({ handler }) {
      if (handler === undefined) return NO_DATABASE
      if (/^[^\s_.]+$/.test(handler.sendIdent)) return undefined
      return {
        found: `send_ident is ${JSON.stringify(handler.sendIdent)}, and Mongrel2 cannot read a reply that begins so`,
        advice: 'Use letters, digits and hyphens, such as a UUID, and load the configuration again.',
      }
    },
  },
]
