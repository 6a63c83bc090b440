import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { MessageInfo, Mongrel2Env } from '../../src/index.ts'

/** `c.env` behind Mongrel2: `new Hono<{ Bindings: Bindings }>()`. */
export type Bindings = Mongrel2Env

/** The variables that `mongrel2()` sets in `c.var`. */
export interface Mongrel2Variables {
  /** What Mongrel2 says about the request. */
  mongrel2: MessageInfo
}

/**
 * Middleware that sets `c.var.mongrel2` to what Mongrel2 says about the request. On another server its routes answer 501 with a text that says
 * so.
 *
 * @example
 * ```ts
 * app.get('/whoami', mongrel2(), (c) => c.text(c.var.mongrel2.remoteAddress))
 * ```
 */
export const mongrel2 = () =>
  createMiddleware<{ Variables: Mongrel2Variables }>(async (c, next) => {
    const info = messageInfoOf(c)
    if (info === undefined) {
      return c.text('This route needs Mongrel2: serve the app with serveMongrel2() of mongrel2-fetch.\n', 501)
    }
    c.set('mongrel2', info)
    return await next()
  })

/** Undefined on another server. */
export function messageInfoOf(c: Context): MessageInfo | undefined {
  return (c.env as Partial<Bindings> | undefined)?.mongrel2
}
