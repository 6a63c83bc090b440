import { createRequire } from 'node:module'
import { Mongrel2Error } from '../errors.ts'
import { lazy } from './lazy.ts'

/**
 * zeromq.js, loaded with libzmq when its first socket is made: Mongrel2 is usually served by the link `zmtp`, without it.
 *
 * @throws Mongrel2Error `load_failed` on Bun, which ends the process where others load it.
 */
export const libzmq: () => typeof import('zeromq') = lazy(() => {
  if (process.versions.bun !== undefined) {
    throw new Mongrel2Error(
      'load_failed',
      'expected Node or Deno to load libzmq, got Bun: use nothing but the link zmtp',
    )
  }
  return createRequire(import.meta.url)('zeromq')
})
