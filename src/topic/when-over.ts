import type { MessageInfo } from '../platform/handler.ts'
import { LazyMessageInfo } from '../platform/handler-arguments.ts'
import { lifetimeOf, lifetimeOfCopy } from '../platform/request.ts'
import { whenAborted } from '../runtime/promises.ts'

/** A handler's second argument, by which the exchange of a request is found that middleware has made anew. Other servers have no `mongrel2`. */
export interface RequestEnv {
  readonly mongrel2?: MessageInfo | undefined
}

/**
 * Calls an action when nobody waits for the answer to a request any more: at the end of its exchange, where that can be found, and where
 * somebody else has made the request, when its signal is aborted. At once if that has happened. It may be called twice.
 *
 * @returns Forgets the action.
 */
export function whenOver(request: Request, env: RequestEnv | undefined, action: () => void): () => void {
  const own = lifetimeOf(request)
  if (own !== undefined) return own.whenEnding(action)
  const info = env?.mongrel2
  const original = lifetimeOfCopy(request) ?? (info === undefined ? undefined : LazyMessageInfo.lifetimeOf(info))
  const forgets = [whenAborted(request.signal, action), original?.whenEnding(action)]
  return () => {
    for (const forget of forgets) forget?.()
  }
}
