// Not run: the compiler checks here that `serveMongrel2` takes each app as it is.

import type { Mongrel2Handler } from 'mongrel2-fetch'
import type betterAuth from './better-auth.ts'
import type elysia from './elysia.ts'
import type yoga from './graphql-yoga.ts'
import type h3 from './h3.ts'
import type hono from './hono.ts'
import type itty from './itty-router.ts'
import type orpc from './orpc.ts'
import type reactRouter from './react-router.ts'
import type fetchRouter from './remix-fetch-router.ts'
import type sveltekit from './sveltekit.ts'
import type trpc from './trpc.ts'

type Accepted<T extends Mongrel2Handler> = T

export type Apps = [
  Accepted<typeof betterAuth>,
  Accepted<typeof elysia>,
  Accepted<typeof yoga>,
  Accepted<typeof h3>,
  Accepted<typeof hono>,
  Accepted<typeof itty>,
  Accepted<typeof orpc>,
  Accepted<typeof reactRouter>,
  Accepted<typeof fetchRouter>,
  Accepted<typeof sveltekit>,
  Accepted<typeof trpc>,
]
