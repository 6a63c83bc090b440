import { initTRPC, TRPCError, tracked } from '@trpc/server'
import { fetchRequestHandler } from '@trpc/server/adapters/fetch'
import { z } from 'zod'
import { type Exchanges, json, LARGE } from './exchange.ts'
import { digest, endlessSteps, steps } from './steps.ts'

const { procedure, router } = initTRPC.context<{ agent: string | null }>().create({
  isDev: false,
  sse: { ping: { enabled: false } },
})

const appRouter = router({
  hello: procedure.input(z.string()).query(({ input }) => `Hello ${input}`),
  agent: procedure.query(({ ctx }) => ctx.agent),
  fails: procedure.query(() => {
    throw new TRPCError({ code: 'FORBIDDEN', message: 'not for you' })
  }),
  add: procedure.input(z.object({ a: z.number(), b: z.number() })).mutation(({ input }) => input.a + input.b),
  form: procedure.input(z.instanceof(FormData)).mutation(async ({ input }) => {
    const file = input.get('file')
    return { title: input.get('title'), file: file instanceof File ? await digest(file) : null }
  }),
  octets: procedure.input(z.instanceof(ReadableStream)).mutation(async ({ input }) => {
    return digest(await new Response(input).arrayBuffer())
  }),
  steps: procedure.query(async function* () {
    yield* steps()
  }),
  events: procedure.subscription(async function* () {
    for await (const step of steps()) yield tracked(step, step)
  }),
  endless: procedure.subscription(async function* () {
    yield* endlessSteps()
  }),
})

export default {
  fetch: (req: Request) =>
    fetchRequestHandler({
      endpoint: '/trpc',
      req,
      router: appRouter,
      createContext: ({ req }) => ({ agent: req.headers.get('x-agent') }),
      responseMeta: () => ({ headers: { 'x-meta': 'yes' } }),
    }),
}

const input = (value: unknown) => encodeURIComponent(JSON.stringify(value))
const jsonl = { 'trpc-accept': 'application/jsonl' }

export const exchanges: Exchanges = {
  query: { path: `/trpc/hello?input=${input('Grüße')}` },
  context: { path: '/trpc/agent', headers: { 'x-agent': 'smith' } },
  'invalid input': { path: '/trpc/hello?input=1' },
  error: { path: '/trpc/fails' },
  'no such procedure': { path: '/trpc/nothing' },
  head: { path: '/trpc/agent', method: 'HEAD' },
  mutation: json('/trpc/add', { a: 1, b: 2 }),
  batch: { path: `/trpc/hello,agent,fails?batch=1&input=${input({ 0: 'a' })}` },
  'batch of mutations': json('/trpc/add,add?batch=1', { 0: { a: 1, b: 2 }, 1: { a: 3, b: 4 } }),
  'batch stream': { path: `/trpc/hello,agent,fails?batch=1&input=${input({ 0: 'a' })}`, headers: jsonl },
  'batch stream with a generator': {
    path: `/trpc/hello,steps?batch=1&input=${input({ 0: 'a' })}`,
    headers: jsonl,
    steps: 'read',
  },
  FormData: {
    path: '/trpc/form',
    body: { title: 'ü', file: { name: 'a.bin', type: 'image/png', content: LARGE } },
  },
  'octet stream': { path: '/trpc/octets', body: LARGE, headers: { 'content-type': 'application/octet-stream' } },
  subscription: { path: '/trpc/events', headers: { accept: 'text/event-stream' }, steps: 'read' },
  'subscription left': { path: '/trpc/endless', headers: { accept: 'text/event-stream' }, steps: 'leave' },
}
