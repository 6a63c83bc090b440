import { ORPCError, os, withEventMeta } from '@orpc/server'
import { RPCHandler } from '@orpc/server/fetch'
import { z } from 'zod'
import { type Exchanges, json, LARGE } from './exchange.ts'
import { digest, endlessSteps, steps } from './steps.ts'

const handler = new RPCHandler({
  hello: os.input(z.object({ name: z.string() })).handler(({ input }) => `Hello ${input.name}`),
  types: os.handler(() => ({ date: new Date(0), big: 2n ** 64n, set: new Set([1]), url: new URL('http://a.example') })),
  fails: os.handler(() => {
    throw new ORPCError('CONFLICT', { message: 'not twice', data: { again: false } })
  }),
  upload: os
    .input(z.object({ title: z.string(), file: z.instanceof(Blob) }))
    .handler(async ({ input }) => ({ title: input.title, ...(await digest(input.file)) })),
  download: os.handler(() => new File([LARGE], 'ü.bin', { type: 'image/png' })),
  both: os.handler(() => ({ title: 'ü', file: new File(['a file'], 'a.txt', { type: 'text/plain' }) })),
  events: os.handler(async function* () {
    for await (const step of steps()) yield withEventMeta({ step }, { id: step, retry: 1000 })
    return 'the end'
  }),
  endless: os.handler(async function* () {
    for await (const step of endlessSteps()) yield { step }
  }),
})

export default {
  async fetch(request: Request): Promise<Response> {
    const { matched, response } = await handler.handle(request, { prefix: '/rpc' })
    return matched ? response : new Response('no procedure', { status: 404 })
  },
}

const BOUNDARY = [/-{4,}formdata-[\w-]+/g]

export const exchanges: Exchanges = {
  call: json('/rpc/hello', { json: { name: 'Grüße' } }),
  'call by GET is refused': { path: '/rpc/hello' },
  'invalid input': json('/rpc/hello', { json: { name: 2 } }),
  types: json('/rpc/types', {}),
  error: json('/rpc/fails', {}),
  'no such procedure': json('/rpc/nothing', {}),
  'file sent': {
    path: '/rpc/upload',
    body: {
      data: JSON.stringify({ json: { title: 'ü', file: {} }, meta: [], maps: [['file']] }),
      0: { name: 'a.bin', type: 'image/png', content: LARGE },
    },
  },
  'file received': json('/rpc/download', {}, { volatile: BOUNDARY }),
  'file among other data': json('/rpc/both', {}, { volatile: BOUNDARY }),
  'event iterator': json('/rpc/events', {}, { steps: 'read' }),
  'event iterator left': json('/rpc/endless', {}, { steps: 'leave' }),
}
