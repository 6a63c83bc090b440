import { createRequire } from 'node:module'
import { lazy } from './lazy.ts'

/** zeromq.js, loaded with libzmq when its first socket is made: Mongrel2 is usually served by the link `zmtp`, without it. */
export const libzmq: () => typeof import('zeromq') = lazy(() => createRequire(import.meta.url)('zeromq'))
